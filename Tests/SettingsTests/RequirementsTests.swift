// `requires:` and `on_change:` of a VIP: what is accepted and what it means, and what is refused with which words.

import Control
import Primitives
import Settings
import Testing

@Suite("What a VIP requires") struct RequirementsTests {
  private func file(_ requires: String) -> String {
    cluster + "vips: {web: {addresses: [192.0.2.100/24], requires: \(requires)}}\n" + web
  }

  @Test("every kind, with its values")
  func everyKind() throws {
    let text = file(
      "[balancer, {pool: app, at_least: 2, strict: yes}, {interface: eth1}, {process: nginx}, {file: /run/ok, strict: no}, "
        + "{script: /usr/local/bin/uplink, every: 5s, timeout: 3s, rise: 4, fall: 1}, {script: /bin/true}]")
    var script = ScriptCheck(path: "/usr/local/bin/uplink")
    script.every = .seconds(5)
    script.timeout = .seconds(3)
    script.rise = 4
    script.fall = 1
    let configuration = try parse(text)
    #expect(
      configuration.vips[0].requires == [
        Requirement(.balancer), Requirement(.pool("app", atLeast: 2), strict: true), Requirement(.interface("eth1")),
        Requirement(.process("nginx")), Requirement(.file("/run/ok")), Requirement(.script(script)),
        Requirement(.script(ScriptCheck(path: "/bin/true"))),
      ])
    #expect(ScriptCheck(path: "/").every == .seconds(2) && ScriptCheck(path: "/").timeout == .seconds(1))
  }

  @Test("nothing may be required, and a list of nothing is not the default")
  func nothing() throws {
    #expect(try parse(file("[]")).vips[0].requires == [])
    #expect(try parse(cluster + "vips: {web: {addresses: [192.0.2.100/24]}}").vips[0].requires == [])
  }

  @Test(
    "mistakes",
    arguments: [
      (
        "[{pool: ap}]",
        "vips.web.requires[0].pool: there is no pool \"ap\" (did you mean \"app\"?)"
      ),
      ("[{pool: app, at_least: 0}]", "vips.web.requires[0].at_least is 0 (it must be from 1 to 1024)"),
      ("[pool]", "vips.web.requires[0] cannot be \"pool\" (for instance {pool: app})"),
      ("[proces]", "vips.web.requires[0] cannot be \"proces\" (did you mean \"process\"?)"),
      (
        "[{script: uplink}]",
        "vips.web.requires[0].script: \"uplink\" is not a path from the root (it starts with /, for instance "
          + "/usr/local/bin/uplink-works)"
      ),
      (
        "[{script: /a, every: 1ms}]", "vips.web.requires[0].every is 1ms (it must be from 100ms to 1h)"
      ),
      (
        "[{file: /a, rise: 2}]", "\"rise\" has no meaning with file (remove it; it belongs to script)"
      ),
      (
        "[{script: /a, at_least: 2}]", "\"at_least\" has no meaning with script (remove it; it belongs to pool)"
      ),
      (
        "[{process: /usr/bin/nginx}]",
        "vips.web.requires[0].process: \"/usr/bin/nginx\" is not the name of a process (the name of its executable "
          + "without folders, for instance nginx)"
      ),
      (
        "[{file: /a, process: b}]",
        "vips.web.requires[0] is both process and file (write two entries, one for each)"
      ),
      (
        "[{strict: yes}]",
        "vips.web.requires[0] does not say what is required (for instance balancer, or {script: "
          + "/usr/local/bin/uplink-works, every: 2s})"
      ),
      ("[balancer, balancer]", "vips.web.requires[1]: balancer is there twice (keep one)"),
      ("[{balancer: no}]", "vips.web.requires[0].balancer: what is not required is left out (remove it)"),
      ("[{balancer: yes, strikt: yes}]", "unknown key \"strikt\" in vips.web.requires[0] (did you mean \"strict\"?)"),
      ("[{file: /a, strict: maybe}]", "vips.web.requires[0].strict must be yes or no, not \"maybe\""),
      ("balancer", "vips.web.requires must be a list, not \"balancer\" (for instance [balancer])"),
    ])
  func mistakes(_ requires: String, _ expected: String) {
    let found = errors(file(requires))
    #expect(found.count == 1 && found[0].hasSuffix(": " + expected), "\(found)")
  }

  @Test("too many are too many")
  func tooMany() {
    let many = (0...16).map { "{file: /a\($0)}" }.joined(separator: ", ")
    #expect(errors(file("[\(many)]")).contains { $0.contains("requires has 17 entries (at most 16 are supported)") })
  }

  @Test("a hook is a path from the root, and what is wrong with programs is a warning that names them")
  func programs() throws {
    let text =
      cluster + """
        vips:
          web: {addresses: [192.0.2.100/24], on_change: /usr/local/bin/changed, requires: [{script: /bin/a}, {script: /bin/b}]}
        """
    let configuration = try parse(text)
    #expect(configuration.vips[0].onChange == "/usr/local/bin/changed")
    #expect(
      configuration.programWarnings { $0 == "/bin/b" ? nil : "it is gone" } == [
        "VIP web requires the script /bin/a: it is gone", "on_change of VIP web, /usr/local/bin/changed: it is gone",
      ])
    #expect(
      errors(text.replacing("/usr/local/bin/changed", with: "changed")).first?.hasSuffix(
        "vips.web.on_change: \"changed\" is not a path from the root (it starts with /, for instance "
          + "/usr/local/bin/vip-changed)") == true)
  }
}
