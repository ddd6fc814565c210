// Which of several interfaces a member is heard over, look by look, and what is told of it.

import Membership
import Primitives
import Testing

@testable import Elector

@Suite("Paths to a member") struct PathWatchTests {
  /// Looks once in 250 ms; `heard` says over which of two paths the member is heard at each of them.
  private struct Story {
    static let member = MemberIndex(3)
    var watch = PathWatch()
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var last: [Instant?] = [nil, nil]
    var told: [String] = []
    var isHeard: [Bool?] = []

    mutating func look(_ heard: [Bool], for span: TimeSpan, isAlive: Bool = true) {
      let end = now + span
      while now < end {
        for path in heard.indices where heard[path] { last[path] = now }
        let found = watch.look(
          at: Self.member, isAlive: isAlive, heardAt: last, patience: PathWatch.patience(with: .milliseconds(35)),
          now: now)
        isHeard = found.map(\.isHeard)
        for path in found.indices {
          switch found[path].news {
          case .lost: told.append("lost \(path)")
          case .back: told.append("back \(path)")
          case nil: break
          }
        }
        now = now + .milliseconds(250)
      }
    }
  }

  @Test("a path that goes is told of once, and once more when it has worked for a while")
  func goesAndComes() {
    var story = Story()
    story.look([true, true], for: .seconds(3))
    #expect(story.isHeard == [true, true] && story.told.isEmpty)
    story.look([true, false], for: .seconds(1))
    #expect(story.told.isEmpty, "within the patience")
    story.look([true, false], for: .seconds(60))
    #expect(story.isHeard == [true, false] && story.told == ["lost 1"])
    story.look([true, true], for: .seconds(4))
    #expect(story.isHeard == [true, true] && story.told == ["lost 1"])
    story.look([true, true], for: .seconds(60))
    #expect(story.told == ["lost 1", "back 1"])
  }

  @Test("a path is not lost because this host paused")
  func pause() {
    var story = Story()
    story.look([true, true], for: .seconds(3))
    story.now = story.now + .seconds(20)
    story.look([true, false], for: .milliseconds(500))
    #expect(story.isHeard == [true, nil] && story.told.isEmpty)
    story.look([true, true], for: .seconds(3))
    #expect(story.isHeard == [true, true] && story.told.isEmpty)
  }

  @Test("a path that comes and goes is told of once")
  func flapping() {
    var story = Story()
    story.look([true, true], for: .seconds(3))
    for _ in 0..<50 {
      story.look([true, false], for: .seconds(3))
      story.look([true, true], for: .seconds(3))
    }
    #expect(story.told == ["lost 1"])
    story.look([true, true], for: .seconds(6))
    #expect(story.told == ["lost 1", "back 1"])
  }

  @Test("a member that falls silent everywhere loses no path, and neither does one that others hear")
  func silence() {
    var story = Story()
    story.look([true, true], for: .seconds(3))
    story.look([false, false], for: .seconds(10), isAlive: true)
    #expect(story.isHeard == [false, false])
    story.look([false, false], for: .seconds(10), isAlive: false)
    story.look([true, true], for: .seconds(10))
    #expect(story.told.isEmpty)
  }

  @Test("a member that comes gets time to be heard on every interface, and one that never is is told of")
  func neverHeard() {
    var story = Story()
    story.look([true, false], for: .milliseconds(1_250))
    #expect(story.isHeard == [true, nil] && story.told.isEmpty)
    story.look([true, false], for: .milliseconds(250))
    #expect(story.isHeard == [true, false] && story.told == ["lost 1"])
    // Dead in between: what was lost is not news again.
    story.look([false, false], for: .seconds(5), isAlive: false)
    story.look([true, false], for: .seconds(5))
    #expect(story.isHeard == [true, false] && story.told == ["lost 1"])
    story.watch.forget(Story.member)
    story.look([true, false], for: .seconds(2))
    #expect(story.told == ["lost 1", "lost 1"], "the slot is another member's")
  }

  @Test("one event names the members, or says that it is all of them")
  func words() {
    func lost(_ members: [String], of count: Int) -> String { Hands.pathWords(members, of: count, "eth1", "") }
    #expect(lost(["n2"], of: 1) == "n2 is not heard on eth1")
    #expect(lost(["n3", "n2"], of: 3) == "n2, n3 are not heard on eth1")
    #expect(lost(["n3", "n2"], of: 2) == "no member is heard on eth1")
    #expect(Hands.pathWords(["n2"], of: 3, "eth1", " again") == "n2 is heard on eth1 again")
    #expect(Hands.pathWords(["n3", "n2"], of: 3, "eth1", " again") == "n2, n3 are heard on eth1 again")
    #expect(Hands.pathWords(["n3", "n2"], of: 2, "eth1", " again") == "every member is heard on eth1 again")
  }
}
