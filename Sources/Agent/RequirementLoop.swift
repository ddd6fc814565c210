// The thread behind `RequirementWatch`: one epoll loop over running scripts, watched processes and the interfaces' news.

internal import Control
internal import Kernel
internal import Primitives

final class RequirementLoop {
  /// Files, and processes that are not found, are looked at this often.
  static let lookInterval = TimeSpan.seconds(1)
  /// A file that has not been seen or missed for so long counts as missing.
  static let filePatience = TimeSpan.seconds(3)

  private enum Token {
    static let mail: UInt64 = 0
    static let network: UInt64 = 1
    /// From here on three for each number: the end of a script, its output, the end of a process.
    static let first: UInt64 = 3
  }

  struct Script {
    var number: UInt64
    var tally: RiseAndFall
    var run: ProgramRun?
    var startedAt = Instant(nanoseconds: 0)
    var nextAt: Instant
    var lastLine = ""
  }
  struct File {
    var askedAt: Instant?
    var nextAt: Instant
  }
  struct Process {
    var number: UInt64
    var found: OtherProcess?
    var nextAt: Instant
  }

  private let watch: RequirementWatch
  let poller: Poller
  private let netlink: NetlinkConnection
  private let watcher: NetlinkWatcher
  private var nextNumber: UInt64 = 1
  var scripts: [ScriptCheck: Script] = [:]
  private var files: [String: File] = [:]
  private var processes: [String: Process] = [:]
  private var interfaces: Set<String> = []
  private var answered: [Requirement.Kind: RequirementAnswer] = [:]

  init(watch: RequirementWatch) throws(SystemError) {
    self.watch = watch
    poller = try Poller(capacity: 64)
    netlink = try NetlinkConnection()
    watcher = try NetlinkWatcher()
    try poller.add(watch.wakeUp.descriptor.raw, .read, token: Token.mail)
    try poller.add(watcher.rawDescriptor, .read, token: Token.network)
  }

  func run() {
    while true {
      let count = poller.wait(timeout: max(.zero, nextDeadline - Clock.monotonic))
      var isMail = false
      var isNetwork = false
      for index in 0..<count {
        switch poller.token(index) {
        case Token.mail: isMail = true
        case Token.network: isNetwork = true
        case let token: handle(number: (token - Token.first) / 3, part: (token - Token.first) % 3)
        }
      }
      if isMail {
        let mail = watch.takeMail()
        if mail.stop { return endScripts() }
        if let wanted = mail.wanted { adopt(wanted) }
        for (path, exists) in mail.files { lookedAt(path, exists) }
      }
      if isNetwork {
        while watcher.next() != nil {}
        lookAtInterfaces()
      }
      let now = Clock.monotonic
      stepScripts(now)
      stepFiles(now)
      stepProcesses(now)
    }
  }

  private var nextDeadline: Instant {
    var next = Clock.monotonic + .seconds(60)
    for script in scripts.values {
      next = min(next, script.run.map { $0.isOverdue ? .distantFuture : $0.deadline } ?? script.nextAt)
    }
    for file in files.values { next = min(next, file.askedAt.map { $0 + Self.filePatience } ?? file.nextAt) }
    for process in processes.values { next = min(next, process.nextAt) }
    return next
  }

  func answer(_ kind: Requirement.Kind, met: Bool, _ cause: String) {
    let answer = RequirementAnswer(met: met, cause: cause)
    guard answered[kind] != answer else { return }
    answered[kind] = answer
    watch.answer(kind, answer)
  }

  /// What is new starts at once, what is not wanted any more ends.
  private func adopt(_ wanted: Set<Requirement.Kind>) {
    let (before, answersBefore) = (scripts, answered)
    answered = answered.filter { wanted.contains($0.key) }
    let now = Clock.monotonic
    for (check, script) in scripts where !wanted.contains(.script(check)) {
      if let run = script.run { end(run) }
      scripts[check] = nil
    }
    for path in files.keys where !wanted.contains(.file(path)) { files[path] = nil }
    for (name, process) in processes where !wanted.contains(.process(name)) {
      if let found = process.found { poller.remove(found.descriptor) }
      processes[name] = nil
    }
    interfaces = []
    for kind in wanted {
      switch kind {
      case .balancer, .pool: break
      case .interface(let name): interfaces.insert(name)
      case .script(let check) where scripts[check] == nil:
        // The same script under other terms is judged as it was until its results say otherwise.
        let same = before.first { $0.key.path == check.path && $0.value.tally.met != nil }
        scripts[check] = Script(
          number: takeNumber(), tally: RiseAndFall(rise: check.rise, fall: check.fall, met: same?.value.tally.met),
          nextAt: now)
        if let same, let known = answersBefore[.script(same.key)] {
          answer(.script(check), met: known.met, known.cause)
        }
      case .file(let path) where files[path] == nil: files[path] = File(nextAt: now)
      case .process(let name) where processes[name] == nil:
        processes[name] = Process(number: takeNumber(), nextAt: now)
      case .script, .file, .process: break
      }
    }
    lookAtInterfaces()
  }

  private func takeNumber() -> UInt64 {
    defer { nextNumber += 1 }
    return nextNumber - 1
  }

  private func handle(number: UInt64, part: UInt64) {
    if part == 2 {
      // Its end; whether another of that name runs is looked at now.
      for (name, process) in processes where process.number == number {
        if let found = process.found { poller.remove(found.descriptor) }
        processes[name]?.found = nil
        processes[name]?.nextAt = Instant(nanoseconds: 0)
      }
      return
    }
    guard let check = scripts.first(where: { $0.value.number == number })?.key else { return }
    if part == 0 { scriptEnded(check) } else { scriptSpoke(check) }
  }

  // MARK: Interfaces

  private func lookAtInterfaces() {
    guard !interfaces.isEmpty else { return }
    do throws(SystemError) {
      let links = try netlink.links()
      for name in interfaces {
        guard let link = links.first(where: { $0.name == name }) else {
          answer(.interface(name), met: false, "it does not exist")
          continue
        }
        let isReady = link.isUp && link.hasCarrier
        answer(.interface(name), met: isReady, isReady ? "up" : link.isUp ? "no carrier" : "it is down")
      }
    } catch {
      for name in interfaces { answer(.interface(name), met: false, "\(error)") }
    }
  }

  // MARK: Files

  private func stepFiles(_ now: Instant) {
    for (path, file) in files {
      if let askedAt = file.askedAt {
        guard now >= askedAt + Self.filePatience else { continue }
        answer(.file(path), met: false, "its file system does not answer")
        // Not asked again before it has answered.
        files[path]?.askedAt = .distantFuture - Self.filePatience
      } else if now >= file.nextAt {
        files[path] = File(askedAt: now, nextAt: now + Self.lookInterval)
        watch.look(at: path)
      }
    }
  }

  private func lookedAt(_ path: String, _ exists: Bool) {
    guard files[path] != nil else { return }
    files[path]?.askedAt = nil
    answer(.file(path), met: exists, exists ? "it is there" : "it is not there")
  }

  // MARK: Processes

  private func stepProcesses(_ now: Instant) {
    var missing: Set<String> = []
    for (name, process) in processes where now >= process.nextAt {
      processes[name]?.nextAt = now + Self.lookInterval
      if let found = process.found {
        if found.isStillNamed { continue }
        poller.remove(found.descriptor)
        processes[name]?.found = nil
      }
      missing.insert(name)
    }
    let pids = Processes.find(missing)
    for name in missing {
      guard let number = processes[name]?.number, let pid = pids[name], let found = OtherProcess(pid: pid, name: name),
        (try? poller.add(found.descriptor, .read, token: Token.first + number * 3 + 2)) != nil
      else {
        answer(.process(name), met: false, "no process of that name runs")
        continue
      }
      processes[name]?.found = found
      answer(.process(name), met: true, "it runs as process \(pid)")
    }
  }

  // MARK: Scripts

  private func stepScripts(_ now: Instant) {
    for (check, script) in scripts {
      if let run = script.run {
        // One that cannot even be killed now is judged now.
        if now >= run.deadline, run.end() {
          scriptFailed(check, "it took longer than \(check.timeout.milliseconds) ms")
        }
      } else if now >= script.nextAt {
        startScript(check, number: script.number, now)
      }
    }
  }

  private func startScript(_ check: ScriptCheck, number: UInt64, _ now: Instant) {
    scripts[check]?.startedAt = now
    scripts[check]?.nextAt = now + check.every
    scripts[check]?.lastLine = ""
    do throws(SystemError) {
      let token = Token.first + number * 3
      scripts[check]?.run = try ProgramRun(
        check.path, environment: watch.environment, deadline: now + check.timeout, poller: poller,
        tokens: (token, token + 1))
    } catch {
      scriptFailed(check, "it cannot be started: \(error.cause)")
    }
  }

  private func scriptSpoke(_ check: ScriptCheck) {
    scripts[check]?.run?.readOutput(poller) { scripts[check]?.lastLine = $0 }
  }

  private func scriptEnded(_ check: ScriptCheck) {
    guard let run = scripts[check]?.run,
      let ending = run.ended(poller, killsRest: true, { scripts[check]?.lastLine = $0 })
    else { return }
    scripts[check]?.run = nil
    if !run.isOverdue {
      let said = scripts[check]?.lastLine ?? ""
      judge(check, good: ending == .exited(0), ending.words + (said.isEmpty ? "" : ": \(said)"))
    }
  }

  private func scriptFailed(_ check: ScriptCheck, _ why: String) { judge(check, good: false, why) }

  private func judge(_ check: ScriptCheck, good: Bool, _ words: String) {
    guard let remark = scripts[check]?.tally.take(good), let met = scripts[check]?.tally.met else { return }
    answer(.script(check), met: met, words + remark)
  }

  /// Ends a run that nobody waits for, and reaps it; a process in the kernel's hands is left behind after a while.
  private func end(_ run: ProgramRun) {
    _ = run.end()
    for _ in 0..<100 {
      if run.ended(poller, killsRest: false, { _ in }) != nil { return }
      Threads.sleep(.milliseconds(2))
    }
  }

  private func endScripts() {
    let running = scripts.values.compactMap(\.run)
    for run in running { _ = run.end() }
    for run in running { end(run) }
  }
}
