// The agent's part in the kernel gate: loads it, says which addresses it guards, attaches it to the VIPs' interfaces and `lo`,
// and looks that it stays there. Interfaces come and go, and other programs clear what they find; a thread of its own sees to
// that, because every look takes the kernel's rtnl lock.

package import Control
internal import Gate
package import Kernel
internal import Primitives
internal import Synchronization

/// How this node is kept from answering for a VIP that another one holds.
package enum FenceLevel: String, Sendable {
  case kernelGate = "kernel-gate"
  case addressLifetime = "address-lifetime"
}

package final class GateWarden: Sendable {
  /// How often it looks without news, and how often at the most with them.
  static let interval = TimeSpan.seconds(2)
  static let shortestInterval = TimeSpan.milliseconds(50)

  private struct State: ~Copyable {
    /// Nil where eBPF cannot be had.
    var gate: KernelGate?
    /// The VIPs that it guards, with their interfaces; in the middle of a reload one may be there as it was and as it will be.
    var vips: [VIPConfiguration] = []
    var slots: [String: Int] = [:]
    /// The slots that the elector goes by; nil before there is one. What it does not know of it would never open, so that is
    /// not guarded.
    var known: [String: Int]?
    var guarded: [IPAddress: Int] = [:]
    /// Interfaces that it is attached to, by the index that they had then.
    var attached: [String: UInt32] = [:]
    /// Why it cannot be had at all, or not for these VIPs.
    var fault: String?
    /// Why not on an interface.
    var faults: [String: String] = [:]
    /// Why the interfaces could not be looked at.
    var blindness: String?
    var ended = false

    var warnings: [String] {
      let all = fault.map { [$0] } ?? (blindness.map { [$0] } ?? []) + faults.sorted { $0.key < $1.key }.map(\.value)
      return all.map { "VIPs are not behind the kernel gate, only their addresses expire: \($0)" }
    }

    /// VIPs that can be guarded, for the gate is where their packets pass; with their slots.
    var offered: [String: Int] {
      guard gate != nil, fault == nil, attached["lo"] != nil else { return [:] }
      let bare = Set(vips.filter { attached[$0.interface] == nil }.map(\.name))
      return slots.filter { !bare.contains($0.key) }
    }
  }
  /// Held while the rtnl lock is waited for; only the gate's own thread and those that may wait take it.
  private let state: Mutex<State>
  /// What the others may ask at any time.
  private let shown = Mutex(Shown())

  private struct Shown: Equatable {
    var view = GateView()
    var slots: [String: Int]?
  }
  private struct Mail {
    var settlesOn: [VIPConfiguration]?
    var known: [String: Int]?
  }
  private let mail = Mutex(Mail())
  /// Nil where eBPF cannot be had.
  package let deadlines: GateDeadlines?
  private let wakeUp: WakeUp

  /// Loads the gate, everything shut. Never fails: without eBPF it says why, and there is no gate.
  package init() throws(SystemError) {
    wakeUp = try WakeUp()
    var state = State()
    var deadlines: GateDeadlines?
    do {
      let gate = try KernelGate()
      deadlines = try GateDeadlines(mapping: try gate.deadlines())
      state.gate = consume gate
    } catch {
      state.gate = nil
      state.fault = "\(error)"
    }
    let warnings = state.warnings
    self.deadlines = deadlines
    self.state = Mutex(state)
    shown.withLock { $0.view.warnings = warnings }
  }

  // MARK: What is guarded

  /// Gives these VIPs slots, besides those that have one until `settle`, and attaches the gate where they are. VIPs that stay
  /// keep their slots; what is new is shut. Their addresses are guarded as soon as the elector knows the slots. May block for
  /// the kernel's rtnl lock.
  package func guardVIPs(of configuration: ElectorConfiguration) {
    state.withLock { state in
      guard state.gate != nil else { return }
      // What an earlier reload still had to settle is among these.
      mail.withLock { $0.settlesOn = nil }
      change(to: configuration.vips + state.vips.filter { !configuration.vips.contains($0) }, &state)
      _ = look(&state)
    }
    wakeUp.signal()
  }

  /// This configuration is in force, or stays so after a reload that was refused: what it does not have is guarded no more.
  /// Does not block; the gate's thread sees to it.
  package func settle(on configuration: ElectorConfiguration) {
    mail.withLock { $0.settlesOn = configuration.vips }
    wakeUp.signal()
  }

  /// The elector goes by these slots, or starts with them. Does not block.
  package func electorKnows(_ slots: [String: Int]) {
    mail.withLock { $0.known = slots }
    // At once, unless somebody waits for the rtnl lock.
    _ = state.withLockIfAvailable { readMail(&$0, settles: false) }
    wakeUp.signal()
  }

  private func readMail(_ state: inout State, settles: Bool) {
    let (known, vips) = mail.withLock { mail in (mail.known.take(), settles ? mail.settlesOn.take() : nil) }
    guard state.gate != nil, !state.ended else { return }
    if let known { state.known = known }
    if let vips { change(to: vips, &state) }
    if known != nil { guardAddresses(&state) }
  }

  private func change(to vips: [VIPConfiguration], _ state: inout State) {
    assignSlots(vips, &state)
    state.vips = vips
    state.fault = nil
    sweep(&state)
    // Before there is an elector everything is guarded first: what an earlier one left must not answer for a moment.
    guardAddresses(&state, unattachedToo: state.known == nil)
  }

  private func assignSlots(_ vips: [VIPConfiguration], _ state: inout State) {
    let names = Set(vips.map(\.name))
    for (name, slot) in state.slots where !names.contains(name) {
      deadlines?.shut(slot)
      state.slots[name] = nil
    }
    var used = Set(state.slots.values)
    for vip in vips where state.slots[vip.name] == nil {
      // More VIPs than slots are refused by the elector long before.
      guard let free = (0..<GateDeadlines.slotCount).first(where: { !used.contains($0) }) else { break }
      deadlines?.shut(free)
      deadlines?.endConnections(free)
      state.slots[vip.name] = free
      used.insert(free)
    }
  }

  /// Has the kernel guard the addresses of the VIPs that are offered and known to the elector, and no others.
  private func guardAddresses(_ state: inout State, unattachedToo: Bool = false) {
    let offered = unattachedToo ? state.slots : state.offered
    let fenced = state.known.map { known in offered.filter { known[$0.key] == $0.value } } ?? offered
    var wanted: [IPAddress: Int] = [:]
    for vip in state.vips {
      guard let slot = fenced[vip.name] else { continue }
      for prefix in vip.addresses { wanted[prefix.address] = slot }
    }
    do throws(GateFault) {
      for (address, slot) in wanted where state.guarded[address] != slot {
        try state.gate?.guardAddress(address, by: slot)
        state.guarded[address] = slot
      }
      for address in state.guarded.keys where wanted[address] == nil {
        try state.gate?.release(address)
        state.guarded[address] = nil
      }
    } catch {
      // Half a fence would keep VIPs dark that nobody opens: none, until other VIPs are to be guarded.
      state.fault = "\(error)"
      for address in state.guarded.keys where (try? state.gate?.release(address)) != nil {
        state.guarded[address] = nil
      }
    }
    show(state, fenced: state.fault == nil ? Set(fenced.keys) : [])
  }

  // MARK: Where it is attached

  /// Takes it off interfaces that this or an earlier agent guarded under another configuration.
  private func sweep(_ state: inout State) {
    let wanted = Self.interfaces(state)
    for link in (try? NetlinkConnection().links()) ?? [] where !wanted.contains(link.name) {
      KernelGate.detach(from: link)
      state.attached[link.name] = nil
      state.faults[link.name] = nil
    }
  }

  private static func interfaces(_ state: borrowing State) -> Set<String> { Set(state.vips.map(\.interface) + ["lo"]) }

  /// Attaches it where it is missing, and guards what can be. Returns what another program took away, in words.
  private func look(_ state: inout State) -> [String] {
    guard state.gate != nil else { return [] }
    var news: [String] = []
    do {
      let links = try NetlinkConnection().links()
      state.blindness = nil
      for name in Self.interfaces(state) {
        guard let link = links.first(where: { $0.name == name }) else {
          state.attached[name] = nil
          state.faults[name] = "there is no interface \(name)"
          continue
        }
        guard state.gate?.isAttached(to: link) != true else { continue }
        if state.attached[name] == link.index {
          news.append("the kernel gate was removed from \(name) by another program")
        }
        do throws(GateFault) {
          try state.gate?.attach(to: link)
          state.attached[name] = link.index
          state.faults[name] = nil
        } catch {
          state.attached[name] = nil
          state.faults[name] = "\(error)"
        }
      }
    } catch { state.blindness = "\(error)" }
    guardAddresses(&state)
    return news
  }

  /// Keeps it attached from now on, on a thread of its own. `news` is called there with what had happened to it and was mended,
  /// and `changed` with what `view` shows, at first and after each change of that or of `slots`.
  package func watch(
    news: @escaping @Sendable (String) -> Void, changed: @escaping @Sendable (GateView) -> Void
  ) throws {
    let first = shown.withLock { $0 }
    changed(first.view)
    guard deadlines != nil else { return }
    try Threads.start("gate") { [self] in
      do { try keepAttached(since: first, news: news, changed: changed) } catch {
        news("nobody looks after the kernel gate: \(error)")
      }
    }
  }

  private func keepAttached(since first: Shown, news: (String) -> Void, changed: (GateView) -> Void) throws {
    let watcher = try NetlinkWatcher()
    let poller = try Poller(capacity: 4)
    try poller.add(watcher.rawDescriptor, .read, token: 0)
    try poller.add(wakeUp.descriptor.raw, .read, token: 1)
    var before = first
    while true {
      while watcher.next() != nil {}
      wakeUp.clear()
      let found: [String]? = state.withLock { state in
        if state.ended { return nil }
        readMail(&state, settles: true)
        return look(&state)
      }
      guard let found else { return }
      for line in found { news(line) }
      let now = shown.withLock { $0 }
      if now != before { changed(now.view) }
      before = now
      Threads.sleep(Self.shortestInterval)
      _ = poller.wait(timeout: Self.interval)
    }
  }

  /// Takes it off every interface: the VIPs are gone, and whoever has their addresses next on this host is not our business.
  package func end() {
    state.withLock { state in
      state.ended = true
      for link in (try? NetlinkConnection().links()) ?? [] where state.attached[link.name] != nil {
        KernelGate.detach(from: link)
      }
      state.attached = [:]
    }
    wakeUp.signal()
  }

  // MARK: What the others are told

  /// VIP → slot, of the VIPs that can be behind the gate, for the elector; nil without one. They are behind it once the elector
  /// knows: that is what `view` shows.
  package var slots: [String: Int]? { shown.withLock { $0.slots } }
  package var view: GateView { shown.withLock { $0.view } }

  private func show(_ state: borrowing State, fenced: Set<String>) {
    let now = Shown(view: GateView(fenced: fenced, warnings: state.warnings), slots: state.offered)
    shown.withLock { $0 = now }
  }
}

/// The gate as `status` shows it.
package struct GateView: Equatable, Sendable {
  /// VIPs behind it; the others have addresses that expire.
  package var fenced: Set<String> = []
  package var warnings: [String] = []

  package init(fenced: Set<String> = [], warnings: [String] = []) {
    self.fenced = fenced
    self.warnings = warnings
  }

  package func fence(of vip: String) -> FenceLevel { fenced.contains(vip) ? .kernelGate : .addressLifetime }
}
