// A drain `--until-reboot` ends with the machine's next start. Clocks may jump between two starts, so the drained node notes
// in which of them it heard of the drain.

package import Intents
internal import Kernel

package struct DrainBoot: Sendable {
  private let path: String
  /// The kernel's, another one after each start; empty where there is none.
  private let boot: String

  /// - Parameter boot: for tests; else the kernel's.
  package init(directory: String, boot: String? = nil) {
    path = directory + "/drained-in-boot"
    self.boot = boot ?? Self.kernelBoot
  }

  private static var kernelBoot: String {
    let bytes = (try? Files.readIfThere("/proc/sys/kernel/random/boot_id", limit: 64)) ?? nil
    return String(decoding: (bytes ?? []).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  /// This node acts on the drain in this start of the machine.
  package func note(_ drain: DrainIntent) throws {
    let line = line(drain)
    guard drain.untilReboot, noted != line else { return }
    try Files.replace(path, with: Array(line.utf8), mode: 0o600)
  }

  /// The machine was started since the drain was asked for. One that this node has not heard of before is judged by the clock:
  /// `bootedUnixNanoseconds` is when the machine was started.
  package func isOver(_ drain: DrainIntent, bootedUnixNanoseconds: Int64) -> Bool {
    guard drain.untilReboot else { return false }
    let parts = (noted ?? "").split(separator: " ")
    guard parts.count == 2, parts[1] == "\(drain.sinceUnixNanoseconds)", !boot.isEmpty else {
      return drain.sinceUnixNanoseconds < bootedUnixNanoseconds
    }
    return parts[0] != boot
  }

  private func line(_ drain: DrainIntent) -> String { "\(boot) \(drain.sinceUnixNanoseconds)" }

  private var noted: String? {
    ((try? Files.readIfThere(path, limit: 256)) ?? nil).map { String(decoding: $0, as: UTF8.self) }
  }
}
