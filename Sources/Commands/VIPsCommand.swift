// `afloat vips`.

internal import ArgumentParser
internal import Control

struct VIPsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vips",
    abstract: "Show the virtual IPs: holder, since when, and why.")

  @OptionGroup var connection: ConnectionOptions

  func run() throws { try connection.show("/v1/vips", [APIVIP].self) { $0.vips($1) } }
}
