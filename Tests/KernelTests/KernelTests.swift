// The wrappers round the kernel: sockets between processes, shared pages, children.

import Glibc
import Primitives
import Testing

@testable import Kernel

/// `#require` cannot carry a value that is not copyable.
private func packet(from socket: borrowing ControlSocket) throws -> ControlPacket {
  guard let packet = try socket.receive() else { throw SystemError("receive a packet", code: SystemError.tryAgain) }
  return packet
}

@Suite("Channel between processes")
struct ControlSocketTests {
  @Test("messages keep their borders, large ones and descriptors arrive whole")
  func messages() throws {
    let pair = try ControlSocket.pair()
    let page = try SharedMemory(name: "test", byteCount: 4096)
    page.store(42, in: 7)
    let large = (0..<300_000).map { UInt8(truncatingIfNeeded: $0) }
    #expect(try pair.parent.send([1, 2, 3]))
    #expect(try pair.parent.send(large, descriptors: [page.descriptor.raw]))
    let first = try packet(from: pair.child).bytes
    #expect(first == [1, 2, 3])
    var second = try packet(from: pair.child)
    #expect(second.bytes == large)
    guard let file = second.descriptors.takeFirst() else {
      Issue.record("the descriptor is missing")
      return
    }
    let mapped = try SharedMemory(mapping: file, byteCount: 4096)
    #expect(mapped.load(7) == 42)
    mapped.store(43, in: 7)
    #expect(page.load(7) == 43)
  }

  @Test("a non-blocking end says that nothing is there, and that the buffer is full")
  func nonBlocking() throws {
    let pair = try ControlSocket.pair()
    try pair.parent.setNonBlocking()
    try pair.child.setNonBlocking()
    let nothing = try pair.child.receive() == nil
    #expect(nothing)
    var sent = 0
    while sent < 10_000, try pair.parent.send([UInt8](repeating: 0, count: 1000)) { sent += 1 }
    #expect(sent > 0 && sent < 10_000)
  }

  @Test("the end of the other process is an error that says so")
  func ended() throws {
    let child = try ControlSocket.pair().takeChild()
    do {
      _ = try child.receive()
      Issue.record("no error")
    } catch { #expect(error.cause.contains("reset")) }
  }
}

@Suite("Shared memory")
struct SharedMemoryTests {
  @Test("keeps its size, whoever has its descriptor")
  func sealed() throws {
    let memory = try SharedMemory(name: "sealed", byteCount: 4096)
    let other = try memory.descriptor.duplicate()
    #expect(ftruncate(other.raw, 0) == -1 && errno == EPERM)
    #expect(ftruncate(other.raw, 8192) == -1 && errno == EPERM)
    memory.store(7, in: 511)
    #expect(memory.load(511) == 7)
  }
}

@Suite("Children")
struct ChildProcessTests {
  @Test("get their descriptors at 3, and say how they ended")
  func start() throws {
    let pair = try ControlSocket.pair()
    let child = try ChildProcess.start(
      "/bin/sh", arguments: ["-c", "printf '\\000hello' >&3; exit 7"], descriptors: [pair.child.descriptor.raw])
    #expect(try packet(from: pair.parent).bytes == Array("hello".utf8))
    #expect(wait(for: child) == "exit status 7")
  }

  @Test("die of the signal that is sent through their pidfd")
  func signal() throws {
    let child = try ChildProcess.start("/bin/sleep", arguments: ["60"], descriptors: [])
    child.signal(9)
    #expect(wait(for: child) == "signal 9 (killed)")
  }

  @Test("are ended and reaped when they cannot be watched")
  func unwatched() throws {
    let argv: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/sleep"), strdup("60"), nil]
    defer { for argument in argv { free(argument) } }
    var pid: pid_t = 0
    #expect(posix_spawn(&pid, "/bin/sleep", nil, nil, argv, nil) == 0)
    do {
      _ = try ChildProcess.watched(pid) { _ in
        errno = EMFILE
        return -1
      }
      Issue.record("no error")
    } catch { #expect(error.code == EMFILE) }
    #expect(waitpid(pid, nil, WNOHANG) == -1, "there is no such child any more")
  }

  @Test("are ended with what they have started where they have a group of their own and cannot be watched")
  func unwatchedGroup() throws {
    var ends: [Int32] = [-1, -1]
    #expect(pipe(&ends) == 0)
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addclose(&actions, ends[0])
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    let argv: [UnsafeMutablePointer<CChar>?] = [
      strdup("/bin/sh"), strdup("-c"), strdup("sleep 600 & echo; sleep 600"), nil,
    ]
    defer { for argument in argv { free(argument) } }
    var pid: pid_t = 0
    #expect(posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv, nil) == 0)
    close(ends[1])
    var byte: UInt8 = 0
    #expect(read(ends[0], &byte, 1) == 1, "both run")
    #expect(throws: SystemError.self) {
      _ = try ChildProcess.watched(pid, ownGroup: true) { _ in
        errno = EMFILE
        return -1
      }
    }
    // The end of the output: nobody has it open any more.
    var poll = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
    #expect(Glibc.poll(&poll, 1, 20_000) == 1 && read(ends[0], &byte, 1) == 0)
  }

  @Test("a program that is not there is a clear error")
  func missing() {
    do {
      _ = try ChildProcess.start("/nonexistent/program", arguments: [], descriptors: [])
      Issue.record("no error")
    } catch { #expect(error.description == "cannot start /nonexistent/program: no such file or directory") }
  }

  private func wait(for child: borrowing ChildProcess) -> String? {
    do {
      let poller = try Poller(capacity: 1)
      try poller.add(child.pidfd.raw, .read, token: 1)
      for _ in 0..<100 {
        if poller.wait(timeout: .milliseconds(100)) > 0, let cause = child.endedBecause() { return cause }
      }
    } catch { Issue.record(error) }
    return nil
  }
}

@Suite("Timers")
struct TimerTests {
  @Test("fire when their time has come, and not before")
  func fire() throws {
    let timer = try Timer()
    let poller = try Poller(capacity: 1)
    try poller.add(timer.descriptor.raw, .read, token: 9)
    timer.arm(at: Clock.monotonic + .milliseconds(30))
    #expect(poller.wait(timeout: .milliseconds(1)) == 0)
    #expect(poller.wait(timeout: .seconds(10)) == 1)
    timer.clear()
    timer.arm(at: .distantFuture)
    #expect(poller.wait(timeout: .milliseconds(20)) == 0)
    timer.arm(at: Instant(nanoseconds: 1))
    #expect(poller.wait(timeout: .seconds(10)) == 1)
  }
}
