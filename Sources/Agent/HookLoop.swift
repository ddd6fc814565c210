// The thread behind `HookRunner`: one epoll loop over the hooks that run, at most one for each VIP.

internal import Kernel
internal import Logging
internal import Primitives

final class HookLoop {
  private struct Lane {
    var number: UInt64
    var queue = HookQueue()
    var run: ProgramRun?
    var event: HookEvent?
    var lineCount = 0
  }

  private let runner: HookRunner
  private let poller: Poller
  private var lanes: [String: Lane] = [:]
  private var nextNumber: UInt64 = 1
  private var stopBy: Instant?

  init(runner: HookRunner) throws(SystemError) {
    self.runner = runner
    poller = try Poller(capacity: 64)
    // Token 0; the end and the output of a lane's hook are 2 × its number, and one more.
    try poller.add(runner.wakeUp.descriptor.raw, .read, token: 0)
  }

  func run() {
    while true {
      let count = poller.wait(timeout: max(.zero, nextDeadline - Clock.monotonic))
      for index in 0..<count {
        let token = poller.token(index)
        guard token > 0 else {
          takeMail()
          continue
        }
        guard let vip = lanes.first(where: { $0.value.number == token / 2 })?.key else { continue }
        if token % 2 == 0 { hookEnded(vip) } else { lanes[vip]?.run?.readOutput(poller) { said($0, vip) } }
      }
      let now = Clock.monotonic
      for lane in lanes.values {
        guard let run = lane.run, let event = lane.event, now >= run.deadline, run.end() else { continue }
        runner.failed(event, "it took longer than \(runner.timeLimit.milliseconds) ms and was killed")
      }
      if let stopBy, now >= stopBy || lanes.isEmpty { return leave() }
    }
  }

  private var nextDeadline: Instant {
    var next = min(Clock.monotonic + .seconds(60), stopBy ?? .distantFuture)
    for lane in lanes.values { if let run = lane.run, !run.isOverdue { next = min(next, run.deadline) } }
    return next
  }

  private func takeMail() {
    let mail = runner.takeMail()
    stopBy = mail.stopBy
    for event in mail.events {
      if lanes[event.vip] == nil {
        lanes[event.vip] = Lane(number: nextNumber)
        nextNumber += 1
      }
      lanes[event.vip]?.queue.add(event)
      if lanes[event.vip]?.run == nil { startNext(event.vip) }
    }
  }

  /// The lane is gone when nothing waits in it.
  private func startNext(_ vip: String) {
    while let number = lanes[vip]?.number, let (event, dropped) = lanes[vip]?.queue.next() {
      if dropped > 0 { runner.failed(event, "\(dropped) events before this one were skipped: the hook is too slow") }
      lanes[vip]?.event = event
      lanes[vip]?.lineCount = 0
      do throws(SystemError) {
        lanes[vip]?.run = try ProgramRun(
          event.path, environment: runner.environment + event.environment,
          deadline: Clock.monotonic + runner.timeLimit, poller: poller, tokens: (2 * number, 2 * number + 1))
        return
      } catch { runner.failed(event, "it cannot be started: \(error.cause)") }
    }
    lanes[vip] = nil
  }

  private func said(_ line: String, _ vip: String) {
    guard let event = lanes[vip]?.event, let count = lanes[vip]?.lineCount else { return }
    lanes[vip]?.lineCount = count + 1
    let metadata: Logger.Metadata = ["vip": "\(vip)", "event": "\(event.kind.rawValue)"]
    if count < HookRunner.maximumLines {
      runner.logger.info("hook of VIP \(vip): \(line)", metadata: metadata)
    } else if count == HookRunner.maximumLines {
      runner.logger.warning(
        "hook of VIP \(vip): prints more than \(count) lines, the rest is left out", metadata: metadata)
    }
  }

  private func hookEnded(_ vip: String) {
    // What it left running in the background may go on; its output goes nowhere.
    guard let run = lanes[vip]?.run, let event = lanes[vip]?.event,
      let ending = run.ended(poller, killsRest: false, { said($0, vip) })
    else { return }
    lanes[vip]?.run = nil
    if ending != .exited(0), !run.isOverdue { runner.failed(event, ending.words) }
    startNext(vip)
  }

  private func leave() {
    let running = lanes.values.compactMap { lane in lane.run.map { ($0, lane.event) } }
    for (run, event) in running {
      _ = run.end()
      if let event { runner.failed(event, "the agent stops and it was killed") }
    }
    for (run, _) in running {
      for _ in 0..<50 {
        if run.ended(poller, killsRest: false, { _ in }) != nil { break }
        Threads.sleep(.milliseconds(2))
      }
    }
  }
}
