// A listener's routes as the workers read them: texts ready to be compared and copied, answers ready to be sent. A listener
// without routes has an empty buffer and pays one comparison.

internal import Control
internal import HTTP1
internal import Patterns
internal import Primitives
internal import Routing

/// What a route adds to a head and takes away from it.
struct EditsRecord {
  /// Whole lines with their CR LF.
  var lines: Text
  /// Names in lower case.
  var cut: UnsafeBufferPointer<Text>
  /// It sets or removes X-Request-ID.
  var decidesRequestID = false

  var isEmpty: Bool { lines.isEmpty && cut.isEmpty }
}

enum RouteAction {
  case pool
  /// Status line and fields up to Location's value.
  case redirect(head: Text, RedirectTarget)
  /// Status line, fields and Content-Length; then the body.
  case respond(head: Text, body: Text)
  /// Both end with a zero, which their counts leave out.
  case files(root: Text, index: Text)
}

/// A limit of requests per source, or per value of a field.
struct RateRecord {
  var rule: RateRule
  /// Which bucket of a source or value: the route's.
  var name: UInt64
  /// In lower case; empty: per source.
  var field: Text
}

struct RouteRecord {
  var name: Text
  /// What stays of it from one configuration to the next (`RouteConfiguration.identity`).
  var identity: UInt64
  /// Of its figures.
  var slot: Int32
  var match: RouteMatch
  /// Only exact paths match: with "/" at its end a path is another route's.
  var isExact: Bool
  var action: RouteAction
  /// -1 where no server gets the request.
  var pool: Int32
  var request: EditsRecord
  var response: EditsRecord
  var rewrite: PrefixRewrite?
  var rate: RateRecord?
}

/// Builds the records; what they point to lives in `memory`.
struct RouteBuilder {
  let memory: RecordMemory
  /// Slots of the pools.
  let pools: [String: Int32]

  /// `slots`: one per route.
  func records(
    _ listener: ListenerConfiguration, slots: [Int]
  ) throws(BalancerFault) -> UnsafeBufferPointer<RouteRecord> {
    var records: [RouteRecord] = []
    for (route, slot) in zip(listener.routes, slots) { records.append(try record(route, slot, listener.name)) }
    return memory.keep(records)
  }

  private func record(
    _ route: RouteConfiguration, _ slot: Int, _ listener: String
  ) throws(BalancerFault) -> RouteRecord {
    var record = RouteRecord(
      name: memory.text(route.name), identity: route.identity, slot: Int32(slot),
      match: RouteMatch(
        conditions: try conditions(route.match, route.name), exceptions: try conditions(route.exception, route.name)),
      isExact: !route.match.paths.isEmpty, action: .pool, pool: -1, request: edits(route.requestFields),
      response: edits(route.responseFields),
      rewrite: route.rewrite.map { PrefixRewrite(from: memory.text($0.from), to: memory.text($0.to)) })
    if let limit = route.rateLimit {
      record.rate = RateRecord(
        rule: RateRule(requests: limit.requests, every: limit.every, burst: limit.burst),
        name: StableHash.combine(StableHash.hash(listener), route.identity),
        field: memory.text(limit.field?.lowercased() ?? ""))
    }
    switch route.action {
    case .files(let root, let index):
      record.action = .files(root: memory.terminated(root), index: memory.terminated(index))
    case .pool(let name):
      guard let pool = pools[name] else {
        throw BalancerFault("route \(route.name) of listener \(listener) names the pool \(name), which does not exist")
      }
      record.pool = pool
    case .redirect(let to, let status):
      guard let parts = RedirectPart.parts(to) else {
        throw BalancerFault("route \(route.name) of listener \(listener) redirects to \(to), which is no address")
      }
      let head = memory.text("\(PreparedAnswer.statusLine(status))Content-Length: 0\r\nLocation: ")
      record.action = .redirect(head: head, RedirectTarget(parts: memory.keep(parts.map(part))))
    case .respond(let status, let body, let fields):
      let cut = Set((route.responseFields.remove + route.responseFields.set.map(\.name)).map { $0.lowercased() })
      let head = PreparedAnswer.head(status, body, fields) { cut.contains($0.lowercased()) }
      record.action = .respond(head: memory.text(head), body: memory.text(body))
    }
    return record
  }

  private func part(_ part: RedirectPart) -> RedirectTarget.Part {
    switch part {
    case .text(let text): .text(memory.text(text))
    case .host: .host
    case .uri: .uri
    case .path: .path
    case .query: .query
    case .scheme: .scheme
    case .port: .port
    }
  }

  private func edits(_ edits: FieldEdits) -> EditsRecord {
    let lines = (edits.set + edits.add).map { "\($0.name): \($0.value)\r\n" }.joined()
    let names = edits.remove + edits.set.map(\.name)
    return EditsRecord(
      lines: memory.text(lines), cut: memory.keep(names.map { memory.text($0.lowercased()) }),
      decidesRequestID: names.contains { $0.lowercased() == "x-request-id" })
  }

  /// The cheap ones first.
  private func conditions(
    _ match: RouteConfiguration.Match, _ route: String
  ) throws(BalancerFault) -> UnsafeBufferPointer<RouteCondition> {
    var conditions: [RouteCondition] = []
    if !match.methods.isEmpty { conditions.append(.method(texts(match.methods))) }
    if !match.sources.isEmpty { conditions.append(.source(memory.keep(match.sources))) }
    if !match.hosts.isEmpty {
      let rules = match.hosts.map { host in
        let isWildcard = host.hasPrefix("*")
        return HostRule(name: memory.text(String(host.dropFirst(isWildcard ? 1 : 0))), isWildcard: isWildcard)
      }
      conditions.append(.host(memory.keep(rules)))
    }
    if !match.paths.isEmpty { conditions.append(.path(texts(match.paths))) }
    if !match.pathPrefixes.isEmpty { conditions.append(.pathPrefix(texts(match.pathPrefixes))) }
    for field in match.fields {
      conditions.append(.field(name: memory.text(field.name.lowercased()), values: texts(field.values)))
    }
    if !match.pathPatterns.isEmpty {
      var patterns: [Pattern] = []
      for text in match.pathPatterns {
        do throws(PatternFault) {
          patterns.append(memory.pattern(try Pattern(text)))
        } catch {
          throw BalancerFault("route \(route): \(text) is not a regular expression: \(error.message)")
        }
      }
      conditions.append(.pathPattern(memory.keep(patterns)))
    }
    return memory.keep(conditions)
  }

  private func texts(_ texts: [String]) -> UnsafeBufferPointer<Text> { memory.keep(texts.map { memory.text($0) }) }
}

/// `respond` of a route or a pool.
enum PreparedAnswer {
  static func statusLine(_ status: Int) -> String { "HTTP/1.1 \(status) \(LocalResponse.phrase(status))\r\n" }

  /// Status line, fields and Content-Length. `isCut`: a field of that name is left out.
  static func head(_ status: Int, _ body: String, _ fields: [FieldText], isCut: (String) -> Bool) -> String {
    var fields = fields
    if !body.isEmpty, !fields.contains(where: { $0.name.lowercased() == "content-type" }) {
      fields.append(FieldText(name: "Content-Type", value: "text/plain; charset=utf-8"))
    }
    var head = statusLine(status)
    for field in fields where !isCut(field.name) { head += "\(field.name): \(field.value)\r\n" }
    if status != 204 && status != 304 { head += "Content-Length: \(body.utf8.count)\r\n" }
    return head
  }
}
