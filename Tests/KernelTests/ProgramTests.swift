// Programs that are run for what they print, threads that are waited for, and the sockets that only listen.

import CLinux
import Kernel
import Primitives
import Testing

@Suite("Programs that are run to their end")
struct ProgramRunTests {
  static func run(_ script: String, limit: Int = 1_000, timeout: TimeSpan = .seconds(30)) throws -> Program.Result {
    try Program.run("/bin/sh", arguments: ["-c", script], limit: limit, timeout: timeout)
  }

  @Test("what they print and how they end is known, from both outputs")
  func ending() throws {
    let done = try Self.run("echo out; echo err >&2; exit 3")
    #expect(done.ending == .exited(3))
    #expect(String(decoding: done.output, as: UTF8.self) == "out\nerr\n")
    #expect(try Self.run("kill -9 $$").ending == .signalled(9))
  }

  @Test("one that takes too long, or prints too much, is ended with all that it started")
  func bounds() throws {
    let began = Clock.monotonic
    let late = try Self.run("echo begun; sleep 600 & sleep 600", timeout: .milliseconds(300))
    #expect(late.ending == nil && String(decoding: late.output, as: UTF8.self) == "begun\n")
    let much = try Self.run("while :; do echo line; done")
    #expect(much.ending == nil && much.output.count > 1_000 && much.output.count < 200_000)
    #expect(Clock.monotonic - began < .seconds(60), "neither was waited for")
    // Its output is closed and it goes on.
    let quiet = try Self.run("exec >&- 2>&-; sleep 600", timeout: .milliseconds(300))
    #expect(quiet.ending == nil && quiet.output.isEmpty)
  }

  @Test("one that is not there is a clear error")
  func missing() {
    let error = #expect(throws: SystemError.self) {
      try Program.run("/nonexistent/program", arguments: [], limit: 1, timeout: .seconds(1))
    }
    #expect(error?.description == "cannot start /nonexistent/program: no such file or directory")
  }
}

@Suite("Threads that are waited for")
struct ThreadResultsTests {
  @Test("each gives its value, in the order of their numbers")
  func order() throws {
    let squares = try Threads.begin("squares", count: 8) { number in
      // The first ones end last.
      Threads.sleep(.milliseconds(Int64(8 - number)))
      return number * number
    }.wait()
    #expect(squares == [0, 1, 4, 9, 16, 25, 36, 49])
    #expect(try Threads.alone("one") { "done" } == "done")
  }
}

@Suite("A socket for the group alone")
struct GroupOnlyTests {
  static func received(_ socket: borrowing HeartbeatSocket) throws -> [[UInt8]] {
    let poller = try Poller(capacity: 1)
    try poller.add(socket.descriptor.raw, .read, token: 0)
    var batch = DatagramBatch()
    guard poller.wait(timeout: .milliseconds(300)) > 0 else { return [] }
    return (0..<batch.receive(from: socket)).map { Array(batch[$0].bytes) }
  }

  @Test("gets a copy of multicasts, and leaves what is addressed to the host to the other socket")
  func beside() throws {
    guard let loopback = try NetlinkConnection().links().first(where: { $0.name == "lo" }), loopback.isUp else {
      return
    }
    let own = IPAddress("127.0.0.1")!
    // A port of this test's own, so that nobody else's datagrams come.
    let group = Endpoint("239.255.70.77:17977")!
    let elector = try HeartbeatSocket(group: group, loopback: true)
    let doctor = try HeartbeatSocket(group: group, groupOnlyOn: 1, loopback: true)
    try elector.join(interface: loopback.index, source: own)
    try doctor.join(interface: loopback.index, source: own)
    let multicast: [UInt8] = [1, 2, 3]
    let unicast: [UInt8] = [4, 5, 6]
    let code = multicast.withUnsafeBytes { elector.send($0) }
    #expect(code == 0)
    let other = unicast.withUnsafeBytes {
      doctor.send(
        $0, to: SocketAddress(Endpoint(address: own, port: group.port)),
        from: SocketAddress(Endpoint(address: own, port: 0)))
    }
    #expect(other == 0)
    #expect(try Self.received(doctor) == [multicast])
    #expect(try Self.received(elector) == [multicast, unicast])
  }
}

@Suite("Real time")
struct RealTimeTests {
  @Test("is left for what takes long, and comes back, also after an error")
  func leftAndRegained() async throws {
    struct Failure: Error {}
    let seen: [Int32]? = await withCheckedContinuation { continuation in
      do {
        try Threads.start("real-time") {
          guard Privileges.becomeRealTime(priority: 3) == nil else { return continuation.resume(returning: nil) }
          var seen = [afloat_fifo_priority()]
          Privileges.atNormalPriority { seen.append(afloat_fifo_priority()) }
          seen.append(afloat_fifo_priority())
          try? Privileges.atNormalPriority { () throws(Failure) in throw Failure() }
          seen.append(afloat_fifo_priority())
          continuation.resume(returning: seen)
        }
      } catch { continuation.resume(returning: []) }
    }
    if let seen { #expect(seen == [3, 0, 3, 3]) } else { print("not tested: this host refuses real-time scheduling") }
  }
}
