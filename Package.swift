// swift-tools-version: 6.3
// The rooms of Afloat, from the bottom up. docs/ARCHITECTURE.md says what each owns; Tests/TidyTests checks the arrows.
import PackageDescription

let swift: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]

/// A room in plain Swift. `inlined`: its small functions are inlined into the rooms above it, in release builds; for what runs
/// with every heartbeat. (Without these flags nothing with `package` access is, not even what is marked `@inlinable`.)
func room(
  _ name: String, _ dependencies: [Target.Dependency] = [], inlined: Bool = false, plugins: [Target.PluginUsage] = []
) -> Target {
  let flags = SwiftSetting.unsafeFlags(
    [
      "-enable-library-evolution", "-no-emit-module-separately-wmo", "-Xfrontend", "-package-cmo", "-Xfrontend",
      "-allow-non-resilient-access",
    ],
    .when(configuration: .release))
  return .target(
    name: name, dependencies: dependencies, swiftSettings: swift + (inlined ? [flags] : []), plugins: plugins)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(name: name, dependencies: dependencies, swiftSettings: swift)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: swift)
}

let package = Package(
  name: "afloat",
  products: [
    .executable(name: "afloat", targets: ["afloat"]),
    .executable(name: "afloat-elector", targets: ["afloat-elector"]),
    .executable(name: "afloat-balancer", targets: ["afloat-balancer"]),
    .executable(name: "afloat-sim", targets: ["afloat-sim"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // C: constants and calls that Swift cannot import.
    .target(name: "CLinux", dependencies: ["CNetlink"], linkerSettings: [.linkedLibrary("cap")]),
    .target(
      name: "CGate", dependencies: ["CNetlink"], exclude: ["kernel"], linkerSettings: [.linkedLibrary("bpf")]),
    .plugin(name: "CompileGate", capability: .buildTool()),
    .systemLibrary(name: "CNetlink", pkgConfig: "libnl-route-3.0", providers: [.apt(["libnl-route-3-dev"])]),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

    // Pure rooms: no I/O, clock, randomness or logger.
    room("Primitives", inlined: true),
    room("Wire", ["Primitives"], inlined: true),
    room("Membership", ["Primitives"], inlined: true),
    room("Election", ["Primitives", "Membership"], inlined: true),
    room("ClusterNode", ["Primitives", "Wire", "Membership", "Election"]),
    room("Intents", ["Primitives"]),
    room("Health", ["Primitives"]),
    room("Balancing", ["Primitives", "Health"]),
    room("HTTP1", ["Primitives"]),
    room("ProxyProtocol", ["Primitives"]),
    room("Routing", ["Primitives", "HTTP1", "Patterns"]),
    room("Settings", ["Primitives", "Control", "Patterns", .product(name: "Yams", package: "Yams")]),
    room("Simulator", ["Primitives", "Wire", "Membership", "Election", "ClusterNode"]),

    // Rooms that touch the system.
    room("Patterns", ["CPCRE2"]),
    room("Kernel", ["CLinux", "CNetlink", "Primitives"]),
    room("Gate", ["CGate", "Kernel", "Primitives"], plugins: ["CompileGate"]),
    room("Cryptography", ["COpenSSL", "Primitives", "Wire"]),
    room("Control", ["Primitives"]),
    room(
      "Elector", ["Primitives", "Wire", "Membership", "Election", "ClusterNode", "Kernel", "Cryptography", "Control"]),
    room(
      "Balancer",
      ["Primitives", "HTTP1", "ProxyProtocol", "Patterns", "Routing", "Balancing", "Health", "Kernel", "Control"]),
    room(
      "Agent",
      [
        "Primitives", "Wire", "Intents", "Settings", "Kernel", "Gate", "Cryptography", "Control", "COpenSSL",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ]),
    room("Doctor", ["Primitives", "Wire", "Settings", "Kernel", "Gate", "Cryptography", "Control"]),
    room(
      "Commands",
      [
        "Primitives", "Control", "Settings", "Kernel", "Doctor",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // Programs.
    program("afloat", ["Agent", "Commands", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
    program("afloat-elector", ["Elector"]),
    program("afloat-balancer", ["Balancer"]),
    program("afloat-sim", ["Simulator", "ClusterNode", "Primitives"]),

    // Tests.
    tests("PrimitivesTests", ["Primitives"]),
    tests("WireTests", ["Wire", "Primitives", "Cryptography"]),
    tests("MembershipTests", ["Membership", "Primitives"]),
    tests("ElectionTests", ["Election", "Membership", "Primitives"]),
    tests("ClusterNodeTests", ["ClusterNode", "Wire", "Membership", "Election", "Primitives"]),
    tests("SimulatorTests", ["Simulator", "ClusterNode", "Primitives"]),
    tests("IntentsTests", ["Intents", "Primitives"]),
    tests("HealthTests", ["Health", "Primitives"]),
    tests("BalancingTests", ["Balancing", "Health", "Primitives"]),
    tests("HTTP1Tests", ["HTTP1", "Primitives"]),
    tests("PatternsTests", ["Patterns"]),
    tests("ProxyProtocolTests", ["ProxyProtocol", "Primitives"]),
    tests("RoutingTests", ["Routing", "HTTP1", "Patterns", "Primitives"]),
    tests("SettingsTests", ["Settings", "Control", "Primitives"]),
    tests("KernelTests", ["CLinux", "Kernel", "Primitives"]),
    tests("GateTests", ["Gate", "Kernel", "Primitives"]),
    tests("CryptographyTests", ["Cryptography", "Wire", "Primitives"]),
    tests("ControlTests", ["Control", "Primitives"]),
    tests(
      "ElectorTests", ["Elector", "ClusterNode", "Cryptography", "Election", "Control", "Kernel", "Primitives", "Wire"]),
    tests("BalancerTests", ["Balancer", "Balancing", "Health", "Control", "Primitives", "Kernel"]),
    tests(
      "AgentTests",
      [
        "Agent", "Settings", "Control", "Intents", "Kernel", "Primitives",
        .product(name: "Logging", package: "swift-log"),
      ]),
    tests("DoctorTests", ["Doctor", "Control", "Kernel", "Settings", "Primitives"]),
    tests("CommandsTests", ["Commands", "Control", "Doctor", "Primitives"]),
    tests("TidyTests", []),
  ]
)
