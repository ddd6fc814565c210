// The local API: which request does what. Paths are few and fixed, so a table serves as router, as the list in a 404 and as
// documentation.

package import Control
internal import FoundationEssentials
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
package import Primitives
package import Settings

/// What the routes need of the rest of the agent.
package struct APIEnvironment: Sendable {
  package var node: NodeName
  package var board: ConfigurationBoard
  package var reloads: any ReloadRequests
  package var started: APITime
  package var controls: any NodeControls
  package var requests: any OperatorRequests
  package var events: EventLog
  var accessLog: AccessLogKeeper

  init(
    node: NodeName, board: ConfigurationBoard, reloads: any ReloadRequests, started: APITime,
    controls: any NodeControls, requests: any OperatorRequests, events: EventLog, accessLog: AccessLogKeeper
  ) {
    self.node = node
    self.board = board
    self.reloads = reloads
    self.started = started
    self.controls = controls
    self.requests = requests
    self.events = events
    self.accessLog = accessLog
  }

  /// The one in force.
  package var configuration: Configuration { board.configuration }

  /// All that an answer is made of, now.
  package func sources() async -> APISources {
    var warnings = await requests.warnings()
    if let failure = events.failure { warnings.append(failure) }
    if let refusal = board.refusal { warnings.append(refusal) }
    if let failure = accessLog.failure { warnings.append(failure) }
    return APISources(
      node: node, version: Software.version, started: started, configuration: configuration, view: controls.view,
      drains: await requests.drains(), switches: await requests.switches(), warnings: warnings,
      electorsRunElsewhere: await requests.electorsRunElsewhere())
  }
}

struct APIRoutes: HTTPResponder {
  typealias Context = BasicRequestContext
  typealias Handler = @Sendable (Request) async throws -> Response

  /// Longer bodies are refused with 413.
  static let maximumBodyByteCount = 64 * 1024
  /// `events` without `limit`, and the most that can be asked for.
  static let defaultEventCount = 200

  private struct Route {
    var method: HTTPRequest.Method
    var path: String
    var handler: Handler
  }
  private let routes: [Route]

  init(_ environment: APIEnvironment) {
    let e = environment
    func get(_ path: String, _ handler: @escaping @Sendable (Request) async throws -> some Encodable & SendableMetatype)
      -> Route
    {
      Route(method: .get, path: path) { try Self.json(await handler($0)) }
    }
    func post<Body: Decodable & SendableMetatype>(
      _ path: String, _ handler: @escaping @Sendable (Body) async throws -> (HTTPResponse.Status, any Encodable)
    ) -> Route {
      Route(method: .post, path: path) { request in
        let (status, value) = try await handler(try await Self.body(of: request))
        return try Self.json(value, status)
      }
    }
    routes = [
      get("/healthz") { _ in Health(node: e.node.text, version: Software.version) },
      get("/v1/status") { _ in await e.sources().status },
      get("/v1/members") { _ in await e.sources().members },
      get("/v1/vips") { _ in await e.sources().vips },
      get("/v1/pools") { _ in await e.sources().pools },
      get("/v1/listeners") { _ in await e.sources().listeners },
      get("/v1/figures") { _ in try await e.controls.figures() },
      Route(method: .get, path: "/metrics") { _ in
        // Without a balancer the rest is worth knowing all the more.
        let metrics = MetricsText(await e.sources(), try? await e.controls.figures())
        return Response(
          status: .ok, headers: [.contentType: MetricsText.contentType],
          body: ResponseBody(byteBuffer: ByteBuffer(string: metrics.description)))
      },
      get("/v1/drains") { _ in await e.requests.drains() },
      get("/v1/events") { request in try Self.events(request, e.events) },
      post("/v1/move") { (body: APIMoveRequest) in (.ok, try await Self.move(body, e)) },
      post("/v1/server") { (body: APIServerRequest) in
        try Self.checkServer(body, e.configuration)
        return (.ok, try await e.requests.setServer(body))
      },
      post("/v1/switch") { (body: APISwitchRequest) in (.ok, try await Self.switchRoute(body, e)) },
      post("/v1/drain") { (body: APIDrainRequest) in
        let answer = try await e.requests.drain(body)
        return (answer.recorded ? .accepted : .ok, answer)
      },
      post("/v1/reload") { (body: APIReloadRequest) in (.ok, try await e.reloads.reload(body)) },
      get("/v1/config") { _ in try await e.reloads.accepted() },
      get("/v1/config/text") { request in try await e.reloads.text(of: Self.number(request)) },
      post("/v1/config/rollback") { (body: APIRollbackRequest) in (.ok, try await e.reloads.rollBack(body)) },
      post("/v1/undrain") { (body: APIUndrainRequest) in (.ok, try await e.requests.undrain(body)) },
    ]
  }

  func respond(to request: Request, context: Context) async throws -> Response {
    do {
      let here = routes.filter { $0.path == request.uri.path }
      guard !here.isEmpty else {
        let known = routes.map { "\($0.method.rawValue) \($0.path)" }.joined(separator: ", ")
        throw Refusal(404, "there is no \(request.uri.path); there are \(known)")
      }
      let method: HTTPRequest.Method = request.method == .head ? .get : request.method
      guard let route = here.first(where: { $0.method == method }) else {
        let allowed = here.map(\.method.rawValue).joined(separator: ", ")
        var refusal = try Self.json(
          APIError(error: "\(request.uri.path) answers to \(allowed) only"), .methodNotAllowed)
        refusal.headers[.allow] = allowed
        return refusal
      }
      return try await route.handler(request)
    } catch let refusal as Refusal {
      return try Self.json(refusal.body, .init(code: refusal.status))
    } catch is NIOTooManyBytesError {
      return try Self.json(
        APIError(error: "the body is longer than \(Self.maximumBodyByteCount) bytes"), .contentTooLarge)
    } catch {
      return try Self.json(APIError(error: "internal error: \(error)"), .internalServerError)
    }
  }

  // MARK: Handlers

  private struct Health: Encodable {
    var node: String
    var version: String
  }

  private static func number(_ request: Request) throws -> Int {
    guard let text = request.uri.queryParameters["number"], let number = Int(text) else {
      throw Refusal(400, "number is missing, or not a number (GET /v1/config lists them)")
    }
    return number
  }

  private static func events(_ request: Request, _ log: EventLog) throws -> [APIEvent] {
    let parameters = request.uri.queryParameters
    var limit = defaultEventCount
    if let text = parameters["limit"] {
      guard let number = Int(text), number >= 0 else { throw Refusal(400, "limit is not a number: \(text)") }
      limit = number
    }
    var since: APITime?
    if let text = parameters["since"] {
      guard let time = APITime(String(text)) else {
        throw Refusal(400, "since is not a time as 2026-11-21T01:02:03Z: \(text)")
      }
      since = time
    }
    return log.newest(limit, since: since)
  }

  /// A move is carried out by the holder, wherever it was asked for.
  private static func move(_ request: APIMoveRequest, _ environment: APIEnvironment) async throws -> APIMoveAnswer {
    let configuration = environment.configuration
    guard configuration.vips.contains(where: { $0.name == request.vip }) else {
      let known = configuration.vips.map(\.name).joined(separator: ", ")
      throw Refusal(404, "there is no VIP \(request.vip)\(known.isEmpty ? "" : " (VIPs are \(known))")")
    }
    let members = configuration.cluster?.members ?? []
    guard members.contains(where: { $0.name.text == request.to }) else {
      let known = members.map(\.name.text).joined(separator: ", ")
      throw Refusal(404, "there is no member \(request.to)\(known.isEmpty ? "" : " (members are \(known))")")
    }
    guard let elector = environment.controls.view.elector else {
      throw Refusal(503, "the elector of this node does not run, so the holder of \(request.vip) is not known")
    }
    guard let holder = elector.vips.first(where: { $0.name == request.vip })?.holder else {
      throw Refusal(409, "nobody holds \(request.vip), so there is nothing to move; see afloat status")
    }
    if holder.text == request.to { throw Refusal(409, "\(request.to) holds \(request.vip) already") }
    if holder == environment.node { return try await environment.controls.move(request) }
    return try await environment.requests.forwardMove(request, to: holder)
  }

  private static func switchRoute(_ request: APISwitchRequest, _ environment: APIEnvironment) async throws
    -> APISwitchAnswer
  {
    let configuration = environment.configuration
    let routes = configuration.listeners.map(\.poolsByRoute).reduce(into: [:]) { $0.merge($1) { first, _ in first } }
    let goesBack = request.back == true
    guard (request.pool == nil) == goesBack else {
      throw Refusal(400, "either pool, or back: true for the pool of the configuration")
    }
    let configured = routes[request.route]
    let isKept = await environment.requests.switches().contains { $0.route == request.route }
    guard configured != nil || goesBack && isKept else {
      let known = routes.keys.sorted().joined(separator: ", ")
      throw Refusal(
        404, "there is no route \(request.route) that goes to a pool\(known.isEmpty ? "" : " (there are \(known))")")
    }
    var change: RouteSwitch?
    if let pool = request.pool, pool != configured {
      let listener = configuration.listeners.first { $0.poolsByRoute[request.route] != nil }
      change = RouteSwitch(
        route: request.route, pool: pool, identity: listener?.identity(of: request.route))
      try refuse(change?.obstacle(configuration.listeners, configuration.pools), request.route, pool, configuration)
    }
    var answer = try await environment.requests.switchRoute(request.route, to: change, by: request.by)
    answer.pool = request.pool ?? configured ?? ""
    let sources = await environment.sources()
    if let pool = sources.pools.first(where: { $0.name == answer.pool }) {
      switch Verdict.shortage(of: pool, sources) {
      case .passing(let words)?, .lasting(let words)?: answer.warning = words
      case .none: break
      }
    }
    return answer
  }

  private static func refuse(
    _ obstacle: SwitchObstacle?, _ route: String, _ pool: String, _ configuration: Configuration
  ) throws {
    switch obstacle {
    case .noPool:
      let known = configuration.pools.map(\.name).joined(separator: ", ")
      throw Refusal(404, "there is no pool \(pool) (pools are \(known))")
    case .misfit(let misfit): throw Refusal(409, "route \(route): \(misfit.fault) (\(misfit.remedy))")
    case .noRoute, .otherRoute, nil: break
    }
  }

  private static func checkServer(_ request: APIServerRequest, _ configuration: Configuration) throws {
    guard let pool = configuration.pools.first(where: { $0.name == request.pool }) else {
      let known = configuration.pools.map(\.name).joined(separator: ", ")
      throw Refusal(404, "there is no pool \(request.pool)\(known.isEmpty ? "" : " (pools are \(known))")")
    }
    let isKnown =
      pool.discovery == nil
      ? pool.servers.contains { $0.name == request.server }
      : PoolConfiguration.Discovery.isServerName(request.server)
    guard isKnown else {
      if let name = pool.discovery?.name {
        throw Refusal(404, "the servers of pool \(request.pool) are called by the addresses of \(name)")
      }
      let known = pool.servers.map(\.name).joined(separator: ", ")
      throw Refusal(404, "pool \(request.pool) has no server \(request.server) (it has \(known))")
    }
    guard request.state != nil || request.weight != nil else {
      throw Refusal(400, "state (drain, maint or ready) or weight is missing")
    }
    guard request.weight.map({ (-1...1_000).contains($0) }) ?? true else {
      throw Refusal(400, "a weight is 0 to 1000, or -1 for what the configuration says")
    }
  }

  // MARK: JSON

  private static func body<Body: Decodable>(of request: Request) async throws -> Body {
    let buffer = try await request.body.collect(upTo: maximumBodyByteCount)
    do {
      return try JSONDecoder().decode(Body.self, from: Data(buffer.readableBytesView))
    } catch let error as DecodingError {
      throw Refusal(400, "the body is not what \(request.uri.path) takes: \(describe(error))")
    }
  }

  private static func describe(_ error: DecodingError) -> String {
    func path(_ context: DecodingError.Context) -> String {
      context.codingPath.map(\.stringValue).joined(separator: ".")
    }
    switch error {
    case .keyNotFound(let key, _): return "\"\(key.stringValue)\" is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context): return "\"\(path(context))\" has the wrong type"
    case .dataCorrupted(let context):
      return context.codingPath.isEmpty ? "not valid JSON" : "\"\(path(context))\": \(context.debugDescription)"
    @unknown default: return "\(error)"
    }
  }

  static func json(_ value: some Encodable, _ status: HTTPResponse.Status = .ok) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var buffer = ByteBuffer(bytes: try encoder.encode(value))
    buffer.writeString("\n")
    return Response(
      status: status, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: buffer))
  }
}
