// What one configuration changes of another, in words: for `afloat reload`, and for the record.

internal import Control
internal import Primitives

extension Configuration {
  /// What `next` changes, a line each: "pool app: server s3 192.0.2.3:80 is new". Empty if it means the same.
  package func changes(to next: Configuration) -> [String] {
    var lines: [String] = []
    if let cluster, let other = next.cluster {
      lines += Changes.named(
        "member", cluster.members.map { ($0.name.text, $0) }, other.members.map { ($0.name.text, $0) })
      var (before, after) = (cluster, other)
      before.members = []
      after.members = []
      lines += Changes.fields("cluster", before, after)
    } else if cluster != nil || next.cluster != nil {
      lines.append(cluster == nil ? "a cluster instead of a lone balancer" : "a lone balancer instead of a cluster")
    }
    lines += Changes.named("VIP", vips.map { ($0.name, $0) }, next.vips.map { ($0.name, $0) })
    func withoutRoutes(_ listener: ListenerConfiguration) -> ListenerConfiguration {
      var listener = listener
      listener.routes = []
      return listener
    }
    lines += Changes.named(
      "listener", listeners.map { ($0.name, withoutRoutes($0)) }, next.listeners.map { ($0.name, withoutRoutes($0)) })
    for listener in listeners {
      guard let other = next.listeners.first(where: { $0.name == listener.name }) else { continue }
      lines += Changes.routes("listener \(listener.name)", listener.routes, other.routes)
    }
    for pool in pools {
      guard let other = next.pools.first(where: { $0.name == pool.name }) else {
        lines.append("pool \(pool.name) is removed")
        continue
      }
      lines += Changes.named(
        "pool \(pool.name): server", pool.servers.map { ($0.name, $0) }, other.servers.map { ($0.name, $0) })
      var (before, after) = (pool, other)
      before.servers = []
      after.servers = []
      lines += Changes.fields("pool \(pool.name)", before, after)
    }
    for pool in next.pools where !pools.contains(where: { $0.name == pool.name }) {
      let names = pool.discovery.map { ["the addresses of \($0.name)"] } ?? pool.servers.map(\.name)
      lines.append("pool \(pool.name) is new: \(names.joined(separator: ", "))")
    }
    lines += Changes.fields("balancer", balancer, next.balancer)
    lines += Changes.fields("log", log, next.log)
    return lines
  }
}

enum Changes {
  /// Longer values are not written out.
  private static let longestValue = 60

  /// Things with names: those that come, those that go, and what differs in the others.
  static func named<Value: Equatable>(
    _ kind: String, _ before: [(name: String, value: Value)], _ after: [(name: String, value: Value)]
  ) -> [String] {
    var lines: [String] = []
    for old in before {
      guard let new = after.first(where: { $0.name == old.name }) else {
        lines.append("\(kind) \(old.name) is removed")
        continue
      }
      lines += fields("\(kind) \(old.name)", old.value, new.value)
    }
    for new in after where !before.contains(where: { $0.name == new.name }) {
      lines.append("\(kind) \(new.name) is new")
    }
    return lines
  }

  /// Routes are told apart by their names or, without one, by what they match. Their order means something.
  static func routes(_ subject: String, _ before: [RouteConfiguration], _ after: [RouteConfiguration]) -> [String] {
    func named(_ routes: [RouteConfiguration]) -> [(name: String, value: RouteConfiguration)] {
      routes.map { route in
        var route = route
        let conditions = route.conditions.joined(separator: ", ")
        if !route.hasOwnName { route.name = conditions.isEmpty ? "for every request" : "for \(conditions)" }
        return (route.name, route)
      }
    }
    let (old, new) = (named(before), named(after))
    var lines = self.named("\(subject): route", old, new)
    let stay = (
      old.map(\.name).filter { name in new.contains { $0.name == name } },
      new.map(\.name).filter { name in old.contains { $0.name == name } }
    )
    if stay.0 != stay.1 { lines.append("\(subject): the order of the routes changes") }
    return lines
  }

  /// The stored properties that differ, by name, with both values where they are short.
  static func fields<Value: Equatable>(_ subject: String, _ before: Value, _ after: Value) -> [String] {
    if before == after { return [] }
    return differences("", before, after).map { "\(subject): \($0)" }
  }

  private static func differences(_ path: String, _ before: Any, _ after: Any) -> [String] {
    let (left, right) = (words(before), words(after))
    if left == right { return [] }
    let mirrors = (Mirror(reflecting: before), Mirror(reflecting: after))
    if isWrittenOut(before) || mirrors.0.displayStyle != .struct || mirrors.1.displayStyle != .struct {
      guard max(left.count, right.count) <= longestValue else { return ["\(path) changes"] }
      return ["\(path) \(left) → \(right)"]
    }
    return zip(mirrors.0.children, mirrors.1.children).flatMap { old, new in
      let name = snakeCase(old.label ?? "")
      return differences(path.isEmpty ? name : "\(path).\(name)", old.value, new.value)
    }
  }

  /// Values that have a text of their own.
  private static func isWrittenOut(_ value: Any) -> Bool { value is TimeSpan || value is any CustomStringConvertible }

  private static func words(_ value: Any) -> String {
    if let span = value as? TimeSpan { return Quantities.text(span) }
    let mirror = Mirror(reflecting: value)
    if mirror.displayStyle == .optional { return mirror.children.first.map { words($0.value) } ?? "none" }
    if mirror.displayStyle == .collection {
      return "[" + mirror.children.map { words($0.value) }.joined(separator: ", ") + "]"
    }
    let text = "\(value)"
    return text.isEmpty ? "none" : text
  }

  private static func snakeCase(_ camelCase: String) -> String {
    camelCase.reduce(into: "") { result, character in
      if character.isUppercase { result += "_" }
      result += character.lowercased()
    }
  }
}
