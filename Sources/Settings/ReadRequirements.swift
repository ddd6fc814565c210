// `requires:` of a VIP – what a node needs before it may hold it.

import Control
import Primitives

extension Reader {
  static let maximumRequirementsPerVIP = 16
  private static let kinds = ["balancer", "pool", "interface", "script", "process", "file"]
  private static let ofScripts = ["every", "timeout", "rise", "fall"]
  private static let shape = "for instance balancer, or {script: /usr/local/bin/uplink-works, every: 2s}"

  /// The balancer where there are listeners, unless the file says otherwise.
  func requires(_ field: Field?, _ references: References) -> [Requirement] {
    guard let field else { return references.hasListeners ? [Requirement(.balancer)] : [] }
    guard let items = list(field, item: "balancer") else { return [] }
    if items.count > Self.maximumRequirementsPerVIP {
      add(
        items[Self.maximumRequirementsPerVIP].position, "\(field.path) has \(items.count) entries",
        "at most \(Self.maximumRequirementsPerVIP) are supported")
    }
    var requirements: [Requirement] = []
    for item in items {
      guard let requirement = requirement(item, references) else { continue }
      if requirements.contains(where: { $0.kind == requirement.kind }) {
        add(item.position, "\(item.path): \(requirement.kind.words) is there twice", "keep one")
      }
      if requirement.kind == .balancer, !references.hasListeners {
        add(
          field.position, "\(field.path): the balancer has nothing to do without listeners",
          "remove it, or add listeners")
      }
      requirements.append(requirement)
    }
    return requirements
  }

  private func requirement(_ item: Field, _ references: References) -> Requirement? {
    if let text = item.text {
      if text == "balancer" { return Requirement(.balancer) }
      let remedy =
        Self.kinds.contains(text)
        ? "for instance {\(text): \(Self.example(text))}"
        : Spelling.nearest(to: text, among: Self.kinds).map { "did you mean \"\($0)\"?" } ?? Self.shape
      add(item.position, "\(item.path) cannot be \"\(text.abbreviated)\"", remedy)
      return nil
    }
    let keys = Keys(Self.kinds + Self.ofScripts + ["at_least", "strict"])
    guard let fields = self.fields(item, keys, shape: Self.shape) else { return nil }
    let named = Self.kinds.filter { fields[$0] != nil }
    guard let kind = named.first, let value = fields[kind] else {
      add(item.position, "\(item.path) does not say what is required", Self.shape)
      return nil
    }
    if named.count > 1, let other = fields[named[1]] {
      add(other.keyPosition, "\(item.path) is both \(kind) and \(named[1])", "write two entries, one for each")
    }
    for key in Self.ofScripts + ["at_least"] where kind != (key == "at_least" ? "pool" : "script") {
      guard let option = fields[key] else { continue }
      add(
        option.keyPosition, "\"\(key)\" has no meaning with \(kind)",
        "remove it; it belongs to \(key == "at_least" ? "pool" : "script")")
    }
    let strict = flag(fields["strict"]) ?? false
    return self.kind(kind, value, fields, references).map { Requirement($0, strict: strict) }
  }

  private func kind(
    _ kind: String, _ value: Field, _ fields: Fields, _ references: References
  ) -> Requirement.Kind? {
    switch kind {
    case "pool": return pool(value, fields, references)
    case "interface": return interface(value).map { .interface($0) }
    case "script": return script(value, fields).map { .script($0) }
    case "process": return processName(value).map { .process($0) }
    case "file": return absolutePath(value, example: Self.example(kind)).map { .file($0) }
    default:
      if value.isEmpty || flag(value) == true { return .balancer }
      if value.text != nil { add(value.position, "\(value.path): what is not required is left out", "remove it") }
      return nil
    }
  }

  private func pool(_ value: Field, _ fields: Fields, _ references: References) -> Requirement.Kind? {
    let atLeast = integer(fields["at_least"], 1...1024) ?? 1
    guard let name = name(value, "pool") else { return nil }
    guard references.pools.contains(name) else {
      let nearest = Spelling.nearest(to: name, among: references.pools)
      add(
        value.position, "\(value.path): there is no pool \"\(name)\"",
        nearest.map { "did you mean \"\($0)\"?" } ?? "add it under pools")
      return nil
    }
    guard references.hasListeners else {
      add(value.position, "\(value.path): nobody checks a pool without listeners", "add listeners, or use a script")
      return nil
    }
    return .pool(name, atLeast: atLeast)
  }

  private func script(_ value: Field, _ fields: Fields) -> ScriptCheck? {
    let longest = TimeSpan.seconds(3600)
    let every = duration(fields["every"], .milliseconds(100)...longest, example: "2s")
    let timeout = duration(fields["timeout"], .milliseconds(10)...longest, example: "1s")
    let rise = integer(fields["rise"], 1...100)
    let fall = integer(fields["fall"], 1...100)
    guard let path = absolutePath(value, example: Self.example("script")) else { return nil }
    var check = ScriptCheck(path: path)
    if let every { check.every = every }
    if let timeout { check.timeout = timeout }
    if let rise { check.rise = rise }
    if let fall { check.fall = fall }
    return check
  }

  /// A name as the kernel and `ps -e` show it, or that of the executable.
  private func processName(_ field: Field) -> String? {
    guard let name = text(field, "the name of a process", example: Self.example("process")) else { return nil }
    guard !name.contains("/"), !name.utf8.contains(where: { $0 < 32 }), name.utf8.count <= 255 else {
      add(
        field.position, "\(field.path): \"\(name.abbreviated)\" is not the name of a process",
        "the name of its executable without folders, for instance \(Self.example("process"))")
      return nil
    }
    return name
  }

  /// A path from the root, without arguments.
  func absolutePath(_ field: Field, example: String) -> String? {
    guard let path = text(field, "a path", example: example) else { return nil }
    guard path.hasPrefix("/"), path.utf8.count < 4096, !path.utf8.contains(where: { $0 < 32 }) else {
      add(
        field.position, "\(field.path): \"\(path.abbreviated)\" is not a path from the root",
        "it starts with /, for instance \(example)")
      return nil
    }
    return path
  }

  private static func example(_ kind: String) -> String {
    switch kind {
    case "pool": "app"
    case "interface": "eth1"
    case "script": "/usr/local/bin/uplink-works"
    case "process": "nginx"
    default: "/run/app/ready"
    }
  }
}
