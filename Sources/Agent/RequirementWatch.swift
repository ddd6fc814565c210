// Looks at what VIPs require outside of Afloat's own processes, on a thread of its own: whatever hangs there (a script, a
// file system) delays neither the supervisor nor anybody's election, and counts as missing.

package import Control
internal import Dispatch
internal import Kernel
internal import Primitives
internal import Synchronization

package final class RequirementWatch: Sendable {
  package typealias Answer = @Sendable (Requirement.Kind, RequirementAnswer) -> Void

  struct Mail {
    /// What to look at from now on.
    var wanted: Set<Requirement.Kind>?
    /// Files that were looked at.
    var files: [String: Bool] = [:]
    var stop = false
  }

  let wakeUp: WakeUp
  let environment: [String]
  let answer: Answer
  private let mail = Mutex(Mail())
  private let ended = DispatchSemaphore(value: 0)
  /// A file system that hangs holds one of its threads; a path is never asked for twice at once.
  private let fileQueue = DispatchQueue(label: "required files", attributes: .concurrent)

  /// Starts the thread. `answer` is called on it, when there is news.
  /// - Parameter environment: all that scripts get, `NAME=VALUE` each.
  package init(environment: [String], answer: @escaping Answer) throws {
    wakeUp = try WakeUp()
    self.environment = environment
    self.answer = answer
    try Threads.start("requirements") { [self] in
      do {
        try RequirementLoop(watch: self).run()
      } catch {
        // Nothing is watched then; what is required stays as it was last seen.
        Console.error("afloat agent: requirements are not watched: \(error)")
      }
      ended.signal()
    }
  }

  /// Looks at these from now on, and at nothing else.
  package func watch(_ wanted: Set<Requirement.Kind>) { post { $0.wanted = wanted } }

  /// Ends the scripts that run, and the thread. Returns when that is done, or after a second.
  package func stop() {
    post { $0.stop = true }
    _ = ended.wait(timeout: .now() + .seconds(1))
  }

  func look(at path: String) {
    fileQueue.async { [self] in
      let exists = Files.exists(path)
      post { $0.files[path] = exists }
    }
  }

  private func post(_ change: (inout Mail) -> Void) {
    mail.withLock { change(&$0) }
    wakeUp.signal()
  }

  func takeMail() -> Mail {
    wakeUp.clear()
    return mail.withLock { mail in
      let taken = mail
      mail = Mail()
      mail.stop = taken.stop
      return taken
    }
  }
}

/// So many results in a row change the judgement; the first is believed at once.
package struct RiseAndFall: Equatable, Sendable {
  private let rise: Int
  private let fall: Int
  package private(set) var met: Bool?
  /// Results in a row that speak against the judgement.
  private var against = 0

  /// - Parameter met: the judgement to begin with, where there is one.
  package init(rise: Int, fall: Int, met: Bool? = nil) {
    self.rise = rise
    self.fall = fall
    self.met = met
  }

  /// Takes a result, and says in words how it stands against the judgement: empty where it agrees.
  package mutating func take(_ good: Bool) -> String {
    guard let before = met, before != good else {
      met = good
      against = 0
      return ""
    }
    against += 1
    let needed = good ? rise : fall
    if against >= needed {
      met = good
      against = 0
      return ""
    }
    return " (\(against) of \(needed) \(good ? "good" : "bad") results that change it)"
  }
}
