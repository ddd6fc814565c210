// The side of `ClusterRequests` that talks to the other agents: intents are merged wherever digests differ, commands are
// answered, answers find whoever waits for them.

internal import Control
internal import Intents
internal import Kernel
internal import Primitives

extension ClusterRequests {
  func handle(_ event: ClusterLink.Event) async {
    switch event {
    case .connected(let peer, let hello):
      lastPush[peer] = nil
      push(to: peer, ifOtherThan: hello.intentsDigest)
      if let own = reports[plan.node] { link.send(.report(own.report), to: peer) }
    case .disconnected(let peer, _):
      reports[peer] = nil
      for (id, waiting) in pending where waiting.peer == peer {
        pending[id] = nil
        waiting.continuation.resume(returning: nil)
      }
    case .message(let peer, let message): await receive(message, from: peer)
    }
  }

  private func receive(_ message: ChannelMessage, from peer: NodeName) async {
    switch message {
    case .hello, .keepAlive: break
    case .intents(let part): _ = await admit(part, from: peer)
    case .report(let report):
      // A report speaks for its sender only.
      guard report.node == peer else { return }
      reports[peer] = .init(report: report, at: Clock.monotonic)
      push(to: peer, ifOtherThan: report.intentsDigest)
      noteDrained(store.intents)
    case .command(let id, .record(let part)):
      let answer = await admit(part, from: peer)
      link.send(.answer(id: id, answer), to: peer)
    case .command(let id, .move(let request)):
      let (controls, link) = (controls, link)
      // A handover takes its time; other messages do not wait for it.
      Task {
        do {
          link.send(.answer(id: id, .moved(try await controls.move(request))), to: peer)
        } catch let refusal as Refusal {
          link.send(.answer(id: id, .refused(status: refusal.status, refusal.body)), to: peer)
        } catch {
          link.send(.answer(id: id, .refused(status: 503, APIError(error: "\(error)"))), to: peer)
        }
      }
    case .answer(let id, let answer):
      guard let waiting = pending[id], waiting.peer == peer else { return }
      pending[id] = nil
      waiting.continuation.resume(returning: answer)
    }
  }

  /// Merges what a peer has; on the disk before it is answered.
  private func admit(_ part: Intents, from peer: NodeName) async -> ChannelAnswer {
    do {
      let after = try await update { try $0.admit(part) }
      guard part.registers.allSatisfy({ after.registers[$0.key] == $0.value }) else {
        // A later order is here. It goes back first, in order, so that the asker can write above it.
        _ = link.send(.intents(after.part(of: part.registers.keys.compactMap { try? IntentKey($0) })), to: peer)
        return .refused(status: 409, APIError(error: "\(plan.node) has a later order"))
      }
      return .recorded(digest: after.digest)
    } catch {
      controls.record("warning", subject: peer.text, cause: "its intents were not taken over: \(error)")
      return .refused(status: 503, APIError(error: "\(plan.node) could not record it: \(error)"))
    }
  }

  /// Sends our document where the peer's is another; the peer does the same, and after that they are equal.
  func push(to peer: NodeName, ifOtherThan digest: UInt64) {
    let intents = store.intents
    guard intents.digest != digest else { return }
    let now = Clock.monotonic
    if let last = lastPush[peer], now - last < Self.pushInterval { return }
    lastPush[peer] = now
    for part in intents.parts(maximumByteCount: Self.partByteCount) where !part.registers.isEmpty {
      guard link.send(.intents(part), to: peer) else { return }
    }
  }

  /// Nil if the peer is not connected, goes away, or does not answer in time.
  func request(_ command: ChannelCommand, of peer: NodeName, timeout: Duration) async -> ChannelAnswer? {
    let id = nextCommand
    nextCommand += 1
    let timer = Task {
      try await Task.sleep(for: timeout)
      giveUp(id)
    }
    defer { timer.cancel() }
    return await withCheckedContinuation { continuation in
      pending[id] = Pending(peer: peer, continuation: continuation)
      if !link.send(.command(id: id, command), to: peer) { giveUp(id) }
    }
  }

  private func giveUp(_ id: UInt64) {
    guard let waiting = pending.removeValue(forKey: id) else { return }
    waiting.continuation.resume(returning: nil)
  }

  /// Has every other member record these registers. Returns the ones that have not confirmed.
  func spread(_ part: Intents) async -> [NodeName] {
    let peers = plan.cluster.members.map(\.name).filter { $0 != plan.node }
    return await withTaskGroup(of: NodeName?.self) { group in
      for peer in peers {
        group.addTask {
          if case .recorded = await self.request(.record(part), of: peer, timeout: .seconds(5)) { return nil }
          return peer
        }
      }
      var missing: [NodeName] = []
      for await peer in group { if let peer { missing.append(peer) } }
      return missing.sorted()
    }
  }
}
