// What the elector stands on: the ring between its threads, receive stamps, multicast, addresses and links.
// Tests that change a network do so in a network namespace of their own thread, and only as root.

import Glibc
import Primitives
import Synchronization
import Testing

@testable import Kernel

private final class Box<Value: Sendable>: Sendable {
  let value = Mutex<Swift.Result<Value?, any Error>?>(nil)
}

/// Runs `body` on a thread with a fresh network namespace; nil where that is not allowed.
private func inOwnNetwork<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) throws -> Result? {
  typealias Unshare = @convention(c) (Int32) -> Int32
  guard let symbol = dlsym(nil, "unshare") else { return nil }
  let unshare = unsafeBitCast(symbol, to: Unshare.self)
  let box = Box<Result>()
  try Threads.start("own-network") {
    let allowed = unshare(0x4000_0000 /* CLONE_NEWNET */) == 0
    let result = Swift.Result<Result?, any Error> { allowed ? try body() : nil }
    box.value.withLock { $0 = result }
  }
  while true {
    if let result = box.value.withLock({ $0 }) { return try result.get() }
    usleep(1000)
  }
}

@Suite struct ElectorKernelTests {
  @Test("a ring gives back what was put, in order, and says no at its limit")
  func ringOrder() {
    let ring = SingleProducerRing<String>(capacity: 4)
    for round in 0..<10 {
      for number in 0..<4 { #expect(ring.push("\(round).\(number)")) }
      #expect(!ring.push("too much"))
      #expect(ring.free == 0)
      for number in 0..<4 { #expect(ring.pop() == "\(round).\(number)") }
      #expect(ring.pop() == nil)
      #expect(ring.free == 4)
    }
  }

  @Test("a ring between two threads loses nothing and keeps the order")
  func ringThreads() throws {
    let ring = SingleProducerRing<Int>(capacity: 8)
    let count = 200_000
    try Threads.start("producer") {
      for number in 0..<count { while !ring.push(number) { sched_yield() } }
    }
    var expected = 0
    while expected < count {
      guard let number = ring.pop() else {
        sched_yield()
        continue
      }
      guard number == expected else { break }
      expected += 1
    }
    #expect(expected == count)
  }

  @Test("a stamp counts as an age between nothing and the time since the socket was empty")
  func stamps() {
    var times = ReceiveTimes(now: Instant(nanoseconds: 1_000))
    let now = Instant(nanoseconds: 5_000)
    #expect(times.instant(stamp: nil, unixNow: 90_000, now: now) == now)
    #expect(times.instant(stamp: 89_000, unixNow: 90_000, now: now) == Instant(nanoseconds: 4_000))
    // The wall clock was set back, or forward, or is nonsense.
    #expect(times.instant(stamp: 95_000, unixNow: 90_000, now: now) == now)
    #expect(times.instant(stamp: 1, unixNow: 90_000, now: now) == Instant(nanoseconds: 1_000))
    #expect(times.instant(stamp: .min, unixNow: .max, now: now) == now)
    times.drained(at: Instant(nanoseconds: 4_800))
    #expect(times.instant(stamp: 89_000, unixNow: 90_000, now: now) == Instant(nanoseconds: 4_800))
  }

  @Test(
    "heartbeats to the group and to an address arrive stamped, and are told apart",
    // The loopback interface has no route for multicasts of IPv6: those are for the integration tests.
    arguments: [("239.255.70.76:7076", "127.0.0.1", true), ("[ff02::7076]:7076", "::1", false)])
  func heartbeats(group: String, address: String, multicasts: Bool) throws {
    let received = try inOwnNetwork { () throws -> ([UInt8], [Bool], Bool) in
      try Network.bringUpLoopback()
      let own = IPAddress(address)!
      let socket = try HeartbeatSocket(group: Endpoint(group)!, loopback: true)
      try socket.join(interface: 1, source: own)
      // Joining again is what happens after a link came back.
      try socket.join(interface: 1, source: own)
      let speaker = try HeartbeatSocket(group: Endpoint(group)!, receives: false, loopback: true)
      try speaker.join(interface: 1, source: own, joins: false)
      let to = SocketAddress(Endpoint(address: own, port: 7076))
      let from = SocketAddress(Endpoint(address: own, port: 0))
      var batch = DatagramBatch()
      let before = Clock.unixNanoseconds
      for byte in 0..<80 where multicasts { #expect([UInt8(byte), 1].withUnsafeBytes { socket.send($0) } == 0) }
      for byte in 80..<90 { #expect([UInt8(byte), 1].withUnsafeBytes { socket.send($0, to: to, from: from) } == 0) }
      for byte in 90..<95 where multicasts { #expect([UInt8(byte), 1].withUnsafeBytes { speaker.send($0) } == 0) }
      for byte in 95..<100 { #expect([UInt8(byte), 1].withUnsafeBytes { speaker.send($0, to: to, from: from) } == 0) }
      var bytes: [UInt8] = []
      var isMulticast: [Bool] = []
      var stamped = true
      while true {
        let got = batch.receive(from: socket)
        if got == 0 { break }
        for index in 0..<got {
          bytes.append(batch[index].bytes[0])
          isMulticast.append(batch[index].isMulticast)
          let stamp = batch[index].stampUnixNanoseconds ?? 0
          stamped = stamped && stamp >= before && stamp <= Clock.unixNanoseconds
        }
      }
      return (bytes, isMulticast, stamped)
    }
    guard let received else { return }
    let isToGroup = (0..<100).map { $0 < 80 || (90..<95).contains($0) }
    #expect(received.0 == (0..<100).filter { multicasts || !isToGroup[Int($0)] })
    #expect(received.1 == isToGroup.filter { multicasts || !$0 })
    #expect(received.2)
  }

  @Test("the loopback interface is listed with its address")
  func listing() throws {
    let netlink = try NetlinkConnection()
    let loopback = try #require(try netlink.links().first { $0.name == "lo" })
    #expect(loopback.index == 1)
    #expect(try netlink.addresses().contains { $0.interface == 1 && $0.prefix == AddressPrefix("127.0.0.1/8") })
  }

  @Test("an address is added with our mark, added again and removed twice without harm, and watched")
  func addresses() throws {
    _ = try inOwnNetwork {
      try Network.bringUpLoopback()
      let watcher = try NetlinkWatcher()
      let netlink = try NetlinkConnection()
      let prefix = AddressPrefix("192.0.2.100/24")!
      let address = InterfaceAddress(interface: 1, prefix: prefix, isOurs: true, noPrefixRoute: true)
      try netlink.add(address)
      try netlink.add(address)
      #expect(try netlink.addresses().filter { $0.prefix == prefix } == [address])
      try netlink.remove(address)
      try netlink.remove(address)
      #expect(try netlink.addresses().allSatisfy { $0.prefix != prefix })
      var news: [NetworkNews] = []
      while let next = watcher.next() { news.append(next) }
      #expect(news.contains(.address(address)))
      #expect(news.contains(.addressGone(address)))
      #expect(throws: SystemError.self) {
        try netlink.add(InterfaceAddress(interface: 4711, prefix: prefix, isOurs: true))
      }
    }
  }
}

private enum Network {
  static func bringUpLoopback() throws {
    let netlink = try NetlinkConnection()
    try netlink.setUp(interface: 1)
  }
}

@Suite("Neighbours") struct NeighboursTests {
  @Test("the neighbours' cache is read, and what is damaged in it is passed over")
  func neighbours() {
    let table = """
      IP address       HW type     Flags       HW address            Mask     Device
      192.0.2.12       0x1         0x2         02:00:5e:00:53:02     *        eth0
      192.0.2.13       0x1         0x0         00:00:00:00:00:00     *        eth0
      198.51.100.12    0x1         0x2         02:00:5e:00:53:02     *        eth1
      192.0.2.14       0x1         0x2         02:00:5e:00:53        *        eth0
      192.0.2.15       0x1         0x2         02:00:5e:00:53:zz     *        eth0
      nonsense
      """
    #expect(
      Neighbours.addresses(of: 0x0200_5e00_5302, in: table) == [
        IPAddress("192.0.2.12")!, IPAddress("198.51.100.12")!,
      ])
    #expect(Neighbours.addresses(of: 0x0200_5e00_5303, in: table).isEmpty)
  }
}
