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

  @Test("datagrams of a group arrive with source and stamp, those sent before the last drain do not count as older")
  func multicast() throws {
    let received = try inOwnNetwork { () throws -> (Int, [UInt8], IPAddress?, Bool) in
      try Network.bringUpLoopback()
      let group = Endpoint("239.255.70.76:7076")!
      let socket = try MulticastSocket(group: group, loopback: true)
      try socket.join(interface: 1, source: IPAddress("127.0.0.1")!)
      // Joining again is what happens after a link came back.
      try socket.join(interface: 1, source: IPAddress("127.0.0.1")!)
      var batch = DatagramBatch()
      let before = Clock.unixNanoseconds
      for byte in 0..<100 { #expect([UInt8(byte), 1].withUnsafeBytes { socket.send($0) } == 0) }
      var bytes: [UInt8] = []
      var source: IPAddress?
      var stamped = true
      var count = 0
      while true {
        let got = batch.receive(from: socket)
        if got == 0 { break }
        for index in 0..<got {
          bytes.append(batch[index].bytes[0])
          source = batch[index].source
          if let stamp = batch[index].stampUnixNanoseconds {
            stamped = stamped && stamp >= before && stamp <= Clock.unixNanoseconds
          } else {
            stamped = false
          }
        }
        count += got
      }
      return (count, bytes, source, stamped)
    }
    guard let received else { return }
    #expect(received.0 == 100)
    #expect(received.1 == Array(0..<100))
    #expect(received.2 == IPAddress("127.0.0.1"))
    #expect(received.3)
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
