// Compiles the kernel gate's eBPF program with the toolchain's clang, and wraps the object as hexadecimal text into a Swift
// file of the room Gate, so that the executable carries it. (SwiftPM lets plugins generate Swift, not C.)

import Foundation
import PackagePlugin

@main struct CompileGate: BuildToolPlugin {
  /// Where the kernel's <asm/types.h> is on Debian; elsewhere it is in /usr/include itself.
  #if arch(arm64)
    static let architectureHeaders = "/usr/include/aarch64-linux-gnu"
  #else
    static let architectureHeaders = "/usr/include/x86_64-linux-gnu"
  #endif

  func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
    let sources = context.package.directoryURL.appendingPathComponent("Sources/CGate/kernel")
    let program = sources.appendingPathComponent("gate.bpf.c")
    let object = context.pluginWorkDirectoryURL.appendingPathComponent("gate.bpf.o")
    let wrapped = context.pluginWorkDirectoryURL.appendingPathComponent("GateObject.swift")
    let clang = try context.tool(named: "clang").url
    let script = """
      set -e
      "$1" -target bpf -O2 -g -Wall -Wextra -Werror -idirafter "$2" -c "$3" -o "$4"
      { printf '// The kernel gate, compiled.\\nlet gateObject: StaticString = "'
        od -An -v -tx1 "$4" | tr -d ' \\n'
        printf '"\\n'; } > "$5"
      """
    return [
      .buildCommand(
        displayName: "Compiling the kernel gate", executable: URL(fileURLWithPath: "/bin/sh"),
        arguments: ["-c", script, "sh", clang.path, Self.architectureHeaders, program.path, object.path, wrapped.path],
        inputFiles: [program, sources.appendingPathComponent("GateLayout.h")], outputFiles: [wrapped])
    ]
  }
}
