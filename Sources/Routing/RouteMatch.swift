// Which requests a route is for: conditions that must all hold, and others that must not all hold. Plain records that point
// into memory of the configuration's; a match allocates nothing and counts no reference.

package import HTTP1
package import Patterns
package import Primitives

package typealias Text = UnsafeBufferPointer<UInt8>

/// A host in lower case; a wildcard's starts with the dot: ".example.org" for *.example.org.
package struct HostRule: @unchecked Sendable {
  // Unchecked: the text is never written.
  package let name: Text
  package let isWildcard: Bool

  package init(name: Text, isWildcard: Bool) {
    self.name = name
    self.isWildcard = isWildcard
  }

  @inline(__always)  // for each host of each route
  func holds(_ host: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    if isWildcard ? count <= name.count : count != name.count { return false }
    let start = host + (count &- name.count)
    for index in 0..<name.count where lowercase(start[index]) != name[index] { return false }
    return true
  }
}

/// One condition: one of its alternatives holds.
package enum RouteCondition: @unchecked Sendable {
  // Unchecked: the buffers are never written.
  case host(UnsafeBufferPointer<HostRule>)
  case path(UnsafeBufferPointer<Text>)
  /// Without "/" at their end the path goes on with "/" or ends; with it, it goes on.
  case pathPrefix(UnsafeBufferPointer<Text>)
  case pathPattern(UnsafeBufferPointer<Pattern>)
  case method(UnsafeBufferPointer<Text>)
  /// A field of that name (in lower case) that servers get has one of the values; without values: is there.
  case field(name: Text, values: UnsafeBufferPointer<Text>)
  case source(UnsafeBufferPointer<AddressPrefix>)
}

/// What is matched: a head in its buffer, read once for all routes.
package struct RouteRequest {
  let bytes: UnsafePointer<UInt8>
  let head: RequestHead
  let scratch: HeadScratch
  let path: TargetPath
  let host: TargetHost
  let source: IPAddress

  /// `bytes` and `scratch` are those of the head's parse.
  package init(
    _ head: RequestHead, of bytes: UnsafePointer<UInt8>, scratch: HeadScratch, path: TargetPath, host: TargetHost,
    source: IPAddress
  ) {
    self.bytes = bytes
    self.head = head
    self.scratch = scratch
    self.path = path
    self.host = host
    self.source = source
  }
}

package enum RouteVerdict: Sendable {
  case matches
  case differs
  /// A pattern could not be decided within its bounds: the request must be refused.
  case tooHard
}

package struct RouteMatch: @unchecked Sendable {
  // Unchecked: the buffers are never written.
  /// Empty: every request.
  package let conditions: UnsafeBufferPointer<RouteCondition>
  /// `not`: requests for which all of these hold are not meant. Empty: none.
  package let exceptions: UnsafeBufferPointer<RouteCondition>

  package init(
    conditions: UnsafeBufferPointer<RouteCondition>, exceptions: UnsafeBufferPointer<RouteCondition>
  ) {
    self.conditions = conditions
    self.exceptions = exceptions
  }

  package func verdict(on request: RouteRequest, _ matcher: PatternMatcher) -> RouteVerdict {
    let verdict = Self.all(conditions, request, matcher)
    if case .matches = verdict, !exceptions.isEmpty {
      switch Self.all(exceptions, request, matcher) {
      case .matches: return .differs
      case .differs: return .matches
      case .tooHard: return .tooHard
      }
    }
    return verdict
  }

  /// For TCP, where nothing but the source is known.
  package func holds(source: IPAddress) -> Bool {
    func all(_ conditions: UnsafeBufferPointer<RouteCondition>) -> Bool {
      for condition in conditions {
        guard case .source(let prefixes) = condition, Self.contains(prefixes, source) else { return false }
      }
      return true
    }
    return all(conditions) && (exceptions.isEmpty || !all(exceptions))
  }

  private static func all(
    _ conditions: UnsafeBufferPointer<RouteCondition>, _ request: RouteRequest, _ matcher: PatternMatcher
  ) -> RouteVerdict {
    for condition in conditions {
      switch condition {
      case .host(let rules): if !hostHolds(rules, request) { return .differs }
      case .path(let paths): if !isAny(of: paths, request.path.text) { return .differs }
      case .pathPrefix(let prefixes): if !starts(request.path.text, withAny: prefixes) { return .differs }
      case .method(let methods):
        let method = Text(
          start: request.bytes + Int(request.head.start), count: Int(request.head.methodByteCount))
        if !isAny(of: methods, method) { return .differs }
      case .field(let name, let values): if !fieldHolds(name, values, request) { return .differs }
      case .source(let prefixes): if !contains(prefixes, request.source) { return .differs }
      case .pathPattern(let patterns):
        switch search(patterns, request.path.text, matcher) {
        case .found: break
        case .absent: return .differs
        case .tooHard: return .tooHard
        }
      }
    }
    return .matches
  }

  private static func hostHolds(_ rules: UnsafeBufferPointer<HostRule>, _ request: RouteRequest) -> Bool {
    let host = request.bytes + request.host.name.offset
    for rule in rules where rule.holds(host, request.host.name.count) { return true }
    return false
  }

  private static func fieldHolds(
    _ name: Text, _ values: UnsafeBufferPointer<Text>, _ request: RouteRequest
  ) -> Bool {
    var fields = PassedFieldValues(named: name, in: request.head, scratch: request.scratch)
    while let value = fields.next(request.bytes) {
      if values.isEmpty || isAny(of: values, Text(start: request.bytes + value.offset, count: value.count)) {
        return true
      }
    }
    return false
  }

  private static func contains(_ prefixes: UnsafeBufferPointer<AddressPrefix>, _ source: IPAddress) -> Bool {
    for prefix in prefixes where prefix.contains(source) { return true }
    return false
  }

  private static func search(
    _ patterns: UnsafeBufferPointer<Pattern>, _ text: Text, _ matcher: PatternMatcher
  ) -> PatternResult {
    for pattern in patterns {
      switch matcher.search(pattern, in: text) {
      case .found: return .found
      case .tooHard: return .tooHard
      case .absent: continue
      }
    }
    return .absent
  }

  private static func isAny(of texts: UnsafeBufferPointer<Text>, _ text: Text) -> Bool {
    for one in texts where one.count == text.count && isPrefix(one, text) { return true }
    return false
  }

  private static func starts(_ path: Text, withAny prefixes: UnsafeBufferPointer<Text>) -> Bool {
    for prefix in prefixes where PathPrefix.holds(prefix, of: path) { return true }
    return false
  }
}

/// `path_prefix`, and the prefix of a rewrite: whole segments.
enum PathPrefix {
  static func holds(_ prefix: Text, of path: Text) -> Bool {
    if path.count < prefix.count || !isPrefix(prefix, path) { return false }
    return path.count == prefix.count || prefix.last == 47 || path[prefix.count] == 47
  }
}

/// `text` is at least as long as `prefix`.
@inline(__always)  // the inner loop of every comparison
func isPrefix(_ prefix: Text, _ text: Text) -> Bool {
  for index in 0..<prefix.count where prefix[index] != text[index] { return false }
  return true
}

@inline(__always)  // the inner loop of host names
func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
