// The doctor: looks at a node and its network for what would keep Afloat from working, before the agent is started or beside
// one that runs, and changes nothing. Each look gathers facts and then judges them; judging is pure.

package import Control
internal import Kernel
package import Primitives
internal import Settings

package struct Doctor: Sendable {
  /// How long to measure and listen.
  package static let shortest = TimeSpan.seconds(1)
  package static let longest = TimeSpan.seconds(600)
  /// Errors of a configuration that become findings; `afloat check` shows all.
  private static let errorLimit = 10

  package var configurationFile: String
  /// --node.
  package var node: String?
  package var duration: TimeSpan
  /// What the agent of this machine answered; nil if none did.
  package var agent: APIStatus?
  /// Why not, in words.
  package var agentFault: String?

  package init(
    configurationFile: String, node: String?, duration: TimeSpan, agent: APIStatus?, agentFault: String?
  ) {
    precondition((Self.shortest...Self.longest).contains(duration), "the command checks its option")
    self.configurationFile = configurationFile
    self.node = node
    self.duration = duration
    self.agent = agent
    self.agentFault = agentFault
  }

  /// Takes `duration` and a second or two.
  package func examine() -> Diagnosis {
    var findings: [Finding] = []
    let loaded = load(&findings)
    let name = loaded.flatMap { self.name($0.configuration, &findings) }
    let cluster = loaded.flatMap { loaded in
      name.flatMap { loaded.configuration.elector(node: $0, keys: loaded.keys) }
    }
    findings += judgeAgent(loaded)
    let powers = PowerFacts.look()
    findings += PowersLook.judge(powers, loaded?.configuration)
    findings += PowersLook.judgeRealTime(
      PowersLook.tryRealTime(), powers, share: SystemFile.number("/proc/sys/kernel/sched_rt_runtime_us"))
    findings += KernelLook.version(SystemFile.text("/proc/sys/kernel/osrelease"))
    findings += KernelLook.judge(ClockFacts.look())
    if loaded == nil || cluster != nil { findings += judgeGate() }
    if let configuration = loaded?.configuration, agent == nil { findings += judgeListeners(configuration) }
    guard let cluster else {
      let stalls = (try? Stalls.begin(duration))?.wait() ?? []
      findings.append(Stalls.judge(stalls, nil))
      return Diagnosis(node: name?.text ?? agent?.node, findings: findings, stalls: stalls, members: [])
    }
    let (stalls, members) = examine(cluster, &findings)
    return Diagnosis(node: cluster.node.text, findings: findings, stalls: stalls, members: members)
  }

  // MARK: Configuration

  private func load(_ findings: inout [Finding]) -> LoadedConfiguration? {
    do throws(SettingsError) {
      let loaded = try LoadedConfiguration.load(path: configurationFile, read: Self.read)
      let warnings =
        loaded.configuration.warnings
        + loaded.configuration.machineWarnings(program: Files.faultOfProgram, folder: Files.faultOfServedFolder)
        + loaded.configuration.bindWarnings(NetlinkConnection.ownAddresses())
      findings += warnings.map { Finding(.configuration, .warning, $0) }
      return loaded
    } catch {
      findings += error.problems.prefix(Self.errorLimit).map { problem in
        Finding(
          .configuration, .failure,
          "\(error.file):\(problem.position.line):\(problem.position.column): \(problem.message)",
          problem.remedy ?? (error.problems.count == 1 ? "name the file with --config" : nil))
      }
      let more = error.problems.count + error.omitted - Self.errorLimit
      if more > 0 {
        findings.append(
          Finding(.configuration, .failure, "and \(more) more errors", "afloat check \(configurationFile)"))
      }
      return nil
    }
  }

  private static func read(_ path: String, _ limit: Int) throws(FileFault) -> FileContents {
    do throws(SystemError) {
      let file = try Files.readWithMode(path, limit: limit)
      return FileContents(bytes: file.bytes, mode: file.mode)
    } catch {
      throw FileFault(cause: error.cause, isAbsent: error.isNoSuchFile)
    }
  }

  private func name(_ configuration: Configuration, _ findings: inout [Finding]) -> NodeName? {
    do {
      let name = try configuration.nodeName(option: node ?? agent?.node, hostname: Host.name)
      findings.append(Finding(.configuration, .ok, "\(configurationFile) is good for node \(name)"))
      return name
    } catch {
      findings.append(Finding(.configuration, .failure, "\(configurationFile): \(error)"))
      return nil
    }
  }

  // MARK: The agent

  private func judgeAgent(_ loaded: LoadedConfiguration?) -> [Finding] {
    guard let agent else {
      return [Finding(.agent, .note, "no agent runs here" + (agentFault.map { ": \($0)" } ?? ""))]
    }
    var findings: [Finding] = []
    let verdict = agent.verdict.rawValue + (agent.reasons.isEmpty ? "" : ": " + agent.reasons.joined(separator: "; "))
    switch agent.verdict {
    case .ok: findings.append(Finding(.agent, .ok, "the agent of \(agent.node) says OK"))
    case .degraded: findings.append(Finding(.agent, .warning, "the agent of \(agent.node) says \(verdict)"))
    case .noQuorum, .critical: findings.append(Finding(.agent, .failure, "the agent of \(agent.node) says \(verdict)"))
    }
    findings += agent.warnings.map { Finding(.agent, .note, "the agent warns: \($0)") }
    if let loaded, let running = agent.members.first(where: \.isSelf)?.configuration {
      let digits = String(loaded.configuration.digest, radix: 16)
      if String(repeating: "0", count: 16 - digits.count) + digits != running {
        findings.append(
          Finding(
            .agent, .warning, "the agent runs another configuration than \(configurationFile)",
            "afloat reload, or name the agent's file with --config"))
      }
      let others = agent.members.filter { !$0.isSelf && $0.configuration != nil && $0.configuration != running }
      if !others.isEmpty {
        findings.append(
          Finding(
            .agent, .warning, "\(Spoken.list(others.map(\.name))) run another configuration than this node",
            "use the same file on every node"))
      }
    }
    return findings
  }

  private func judgeGate() -> [Finding] {
    if let agent { return [KernelLook.judge(fences: agent.vips.map { ($0.name, $0.fence) })].compactMap { $0 } }
    return [KernelLook.judge(KernelLook.tryGate())]
  }

  private func judgeListeners(_ configuration: Configuration) -> [Finding] {
    var findings: [Finding] = []
    var good: [String] = []
    for listener in configuration.listeners {
      for endpoint in listener.bind {
        do throws(SystemError) {
          try ListeningSocket.checkIsFree(endpoint)
          good.append(endpoint.description)
        } catch {
          let remedy =
            switch error.code {
            case SystemError.addressInUse: "ss -ltnp says who has it"
            case SystemError.accessDenied: "ports below 1024 need root or CAP_NET_BIND_SERVICE"
            default: "correct bind of listener \(listener.name)"
            }
          findings.append(Finding(.listeners, .failure, "listener \(listener.name): \(error)", remedy))
        }
      }
    }
    if findings.isEmpty, !good.isEmpty {
      findings.append(Finding(.listeners, .ok, "\(Spoken.list(good)) can be listened on"))
    }
    return findings
  }

  // MARK: The network

  private func examine(
    _ cluster: ElectorConfiguration, _ findings: inout [Finding]
  ) -> ([StallFigure], [Reach]) {
    let network: NetworkFacts
    do throws(SystemError) { network = try .look() } catch {
      findings.append(Finding(.interfaces, .note, "\(error)"))
      network = NetworkFacts(interfaces: [])
    }
    if !network.interfaces.isEmpty {
      findings += InterfacesLook.judge(network, cluster, agentRuns: agent != nil)
    }
    findings += FirewallLook.look(cluster)
    let portIsTaken = UDPTable.hasPort(cluster.group.port)
    if agent == nil, portIsTaken {
      findings.append(
        Finding(
          .agent, .warning,
          "another program has UDP port \(cluster.group.port), the heartbeats' (an agent behind another socket?)",
          "name the agent's socket with --socket, or see ss -lnup for who has the port"))
    }
    // Both at once, for the same time; who is slow to speak must be able to.
    let duration = max(self.duration, cluster.heartbeat * 2 + .milliseconds(500))
    var probing = Probing(cluster, agentRuns: agent != nil || portIsTaken)
    let measuring = try? Stalls.begin(duration)
    var heard = probing.listen(duration, network)
    let stalls = measuring?.wait() ?? []
    findings.append(Stalls.judge(stalls, (cluster.heartbeat, cluster.deadAfter)))
    let links = agent?.members.first { $0.isSelf }?.links ?? []
    for index in heard.members.indices {
      if let member = agent?.members.first(where: { $0.name == heard.members[index].name }) {
        heard.members[index].take(member, links: links)
      }
    }
    let setting = ReachWords.Setting(
      usesMulticasts: cluster.transport == .multicast, agentRuns: agent != nil, way: "\(cluster.group)",
      port: cluster.group.port)
    findings += heard.remarks + heard.members.flatMap { ReachWords.judge($0, setting) }
    return (stalls, heard.members)
  }
}

/// UDP sockets of this network namespace.
package enum UDPTable {
  static func hasPort(_ port: UInt16) -> Bool {
    ["/proc/net/udp", "/proc/net/udp6"].contains { path in
      SystemFile.text(path).map { hasPort(port, in: $0) } ?? false
    }
  }

  /// The same of a table's text (proc_pid_net(5)): `sl LOCAL:PORT REMOTE:PORT …` in hexadecimal, after a heading.
  package static func hasPort(_ port: UInt16, in table: String) -> Bool {
    table.split(separator: "\n").dropFirst().contains { line in
      let words = line.split(separator: " ")
      guard words.count > 1, let colon = words[1].lastIndex(of: ":") else { return false }
      return UInt16(words[1][words[1].index(after: colon)...], radix: 16) == port
    }
  }
}
