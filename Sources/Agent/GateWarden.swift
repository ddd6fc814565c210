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
    var guarded: [IPAddress: Int] = [:]
    /// Interfaces that it is attached to, by the index that they had then.
    var attached: [String: UInt32] = [:]
    /// Why it cannot be had at all, or not on an interface.
    var fault: String?
    var faults: [String: String] = [:]
    var ended = false

    var warnings: [String] {
      let all = fault.map { [$0] } ?? faults.sorted { $0.key < $1.key }.map(\.value)
      return all.map { "VIPs are not behind the kernel gate, only their addresses expire: \($0)" }
    }
  }
  /// Held while the rtnl lock is waited for; only the gate's own thread and those that may wait take it.
  private let state: Mutex<State>
  /// What the others may ask at any time.
  private let shown = Mutex(Shown())

  private struct Shown {
    var view = GateView()
    var slots: [String: Int]?
    var settlesOn: [VIPConfiguration]?
  }
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

  /// Guards the addresses of these VIPs, besides those that are guarded until `settle`, and attaches the gate where they are.
  /// VIPs that stay keep their slots; what is new is shut. May block for the kernel's rtnl lock.
  package func guardVIPs(of configuration: ElectorConfiguration) {
    state.withLock { state in
      guard state.gate != nil else { return }
      change(to: configuration.vips + state.vips.filter { !configuration.vips.contains($0) }, &state)
      _ = look(&state)
      show(state)
    }
  }

  /// The elector has been told of this configuration: what it no longer has is guarded no more. Does not block; the gate's
  /// thread sees to it.
  package func settle(on configuration: ElectorConfiguration) {
    shown.withLock { $0.settlesOn = configuration.vips }
    wakeUp.signal()
  }

  private func change(to vips: [VIPConfiguration], _ state: inout State) {
    assignSlots(vips, &state)
    state.vips = vips
    guardAddresses(&state)
    sweep(&state)
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
      state.slots[vip.name] = free
      used.insert(free)
    }
  }

  private func guardAddresses(_ state: inout State) {
    var wanted: [IPAddress: Int] = [:]
    for vip in state.vips { for prefix in vip.addresses { wanted[prefix.address] = state.slots[vip.name] } }
    do throws(GateFault) {
      for (address, slot) in wanted where state.guarded[address] != slot {
        try state.gate?.guardAddress(address, by: slot)
        state.guarded[address] = slot
      }
      for address in state.guarded.keys where wanted[address] == nil {
        try state.gate?.release(address)
        state.guarded[address] = nil
      }
      state.fault = nil
    } catch { state.fault = "\(error)" }
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

  /// Attaches it where it is missing. Returns what another program took away, in words.
  private func look(_ state: inout State) -> [String] {
    guard state.gate != nil else { return [] }
    var news: [String] = []
    do {
      let links = try NetlinkConnection().links()
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
    } catch { state.faults["lo"] = "\(error)" }
    return news
  }

  /// Keeps it attached from now on, on a thread of its own. `news` is called there with what had happened to it and was mended,
  /// and `changed` with what `view` shows, at first and after each change.
  package func watch(
    news: @escaping @Sendable (String) -> Void, changed: @escaping @Sendable (GateView) -> Void
  ) throws {
    changed(view)
    guard deadlines != nil else { return }
    try Threads.start("gate") { [self] in
      do { try keepAttached(news: news, changed: changed) } catch {
        news("nobody looks after the kernel gate: \(error)")
      }
    }
  }

  private func keepAttached(news: (String) -> Void, changed: (GateView) -> Void) throws {
    let watcher = try NetlinkWatcher()
    let poller = try Poller(capacity: 4)
    try poller.add(watcher.rawDescriptor, .read, token: 0)
    try poller.add(wakeUp.descriptor.raw, .read, token: 1)
    var before = view
    while true {
      while watcher.next() != nil {}
      wakeUp.clear()
      let found: [String]? = state.withLock { state in
        if state.ended { return nil }
        if let vips = shown.withLock({ $0.settlesOn.take() }) { change(to: vips, &state) }
        defer { show(state) }
        return look(&state)
      }
      guard let found else { return }
      for line in found { news(line) }
      if view != before { changed(view) }
      before = view
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

  /// VIP → slot, of the VIPs that are behind the gate, for the elector; nil without one.
  package var slots: [String: Int]? { shown.withLock { $0.slots } }
  package var view: GateView { shown.withLock { $0.view } }

  private func show(_ state: borrowing State) {
    guard state.gate != nil else { return }
    var slots: [String: Int] = [:]
    if state.fault == nil, state.attached["lo"] != nil {
      for vip in state.vips { slots[vip.name] = state.slots[vip.name] }
      for vip in state.vips where state.attached[vip.interface] == nil { slots[vip.name] = nil }
    }
    var view = GateView()
    view.fenced = Set(slots.keys)
    view.warnings = state.warnings
    shown.withLock {
      $0.view = view
      $0.slots = slots
    }
  }
}

/// The gate as `status` shows it.
package struct GateView: Equatable, Sendable {
  /// VIPs behind it; the others have addresses that expire.
  package var fenced: Set<String> = []
  package var warnings: [String] = []

  package init() {}

  package func fence(of vip: String) -> FenceLevel { fenced.contains(vip) ? .kernelGate : .addressLifetime }
}
