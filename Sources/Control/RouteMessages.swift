// Routes of a listener, as the agent tells them to its balancer: names are resolved, values validated.

package import Primitives

/// A header field's name and value.
package struct FieldText: Codable, Equatable, Sendable {
  package var name: String
  package var value: String

  package init(name: String, value: String) {
    self.name = name
    self.value = value
  }
}

/// What happens to the fields of a head, in this order: those of `remove` and `set` are taken away, those of `set` and `add`
/// are added.
package struct FieldEdits: Codable, Equatable, Sendable {
  package var set: [FieldText] = []
  package var add: [FieldText] = []
  package var remove: [String] = []

  package init() {}
  package var isEmpty: Bool { self.set.isEmpty && add.isEmpty && remove.isEmpty }
}

package struct RouteConfiguration: Codable, Equatable, Sendable {
  /// Every list that is not empty has to have an entry that fits.
  package struct Match: Codable, Equatable, Sendable {
    package struct Field: Codable, Equatable, Sendable {
      package var name: String
      /// Empty: it only has to be there.
      package var values: [String]

      package init(name: String, values: [String]) {
        self.name = name
        self.values = values
      }
    }
    /// In lower case; `*.example.org` is every name below it.
    package var hosts: [String] = []
    package var paths: [String] = []
    package var pathPrefixes: [String] = []
    package var pathPatterns: [String] = []
    package var methods: [String] = []
    /// All of them have to fit.
    package var fields: [Field] = []
    package var sources: [AddressPrefix] = []

    package init() {}
    package var isEmpty: Bool { self == Match() }
  }

  package enum Action: Codable, Equatable, Sendable {
    case pool(String)
    /// `to` with placeholders: {host}, {uri}, {path}, {query}, {scheme}, {port}.
    case redirect(to: String, status: Int)
    case respond(status: Int, body: String, fields: [FieldText])
    /// Files below the folder `root`, an absolute path; `index` stands for a path that ends in "/".
    case files(root: String, index: String)
  }

  package struct PrefixRewrite: Codable, Equatable, Sendable {
    package var from: String
    package var to: String

    package init(from: String, to: String) {
      self.from = from
      self.to = to
    }
  }

  /// A bucket of `burst` requests that is filled with `requests` of them in each `every`.
  package struct RateLimit: Codable, Equatable, Sendable {
    package var requests: Int
    package var every: TimeSpan
    package var burst: Int
    /// The field whose values have a bucket each (requests without it share one); nil: each source has.
    package var field: String?

    package init(requests: Int, every: TimeSpan, burst: Int, field: String? = nil) {
      self.requests = requests
      self.every = every
      self.burst = burst
      self.field = field
    }
  }

  /// LISTENER/INDEX where the file gives no name.
  package var name: String
  /// Empty: every request.
  package var match = Match()
  /// Not those for which all of this holds; empty: none.
  package var exception = Match()
  package var action: Action
  package var requestFields = FieldEdits()
  package var responseFields = FieldEdits()
  package var rewrite: PrefixRewrite?
  package var rateLimit: RateLimit?

  package init(name: String, action: Action) {
    self.name = name
    self.action = action
  }

  /// False if it is called by its place, which changes when a route comes or goes before it.
  package var hasOwnName: Bool { !name.utf8.contains(UInt8(ascii: "/")) }

  /// What stays of a route from one configuration to the next: its name if it has one of its own, else what it matches.
  package var identity: UInt64 {
    if hasOwnName { return StableHash.hash(name) }
    return StableHash.hash(conditions.joined(separator: "\n"))
  }

  /// What a request has to have, and must not have, in words.
  package var conditions: [String] { match.words + exception.words.map { "not \($0)" } }
}

extension RouteConfiguration.Match {
  /// All that has to hold, an entry each. They are kept, hashed, on disks: what is added stands here only where it is used.
  fileprivate var words: [String] {
    hosts.map { "host \($0)" } + paths.map { "path \($0)" } + pathPrefixes.map { "path_prefix \($0)" }
      + pathPatterns.map { "path_regex \($0)" } + methods.map { "method \($0)" }
      + fields.map { "header \($0.name.lowercased()): \($0.values.joined(separator: "\t"))" }
      + sources.map { "source \($0)" }
  }
}

/// `to` of a redirect in its parts.
package enum RedirectPart: Equatable, Sendable {
  case text(String)
  case host, uri, path, query, scheme, port

  package static let placeholders: KeyValuePairs<String, RedirectPart> = [
    "host": .host, "uri": .uri, "path": .path, "query": .query, "scheme": .scheme, "port": .port,
  ]

  /// Nil for a brace that belongs to none of the placeholders; an URL holds no others.
  package static func parts(_ text: String) -> [RedirectPart]? {
    var parts: [RedirectPart] = []
    var rest = Substring(text)
    while let open = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
      guard rest[open] == "{", let close = rest[open...].firstIndex(of: "}"),
        let part = placeholders.first(where: { $0.key == rest[rest.index(after: open)..<close] })?.value
      else { return nil }
      if open > rest.startIndex { parts.append(.text(String(rest[..<open]))) }
      parts.append(part)
      rest = rest[rest.index(after: close)...]
    }
    if !rest.isEmpty { parts.append(.text(String(rest))) }
    return parts
  }
}
