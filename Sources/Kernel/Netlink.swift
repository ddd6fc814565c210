// Addresses and links of this host, by rtnetlink (libnl). Calls that change or list take the kernel's rtnl lock and may
// block for as long as other programs hold it: never on the heartbeat thread.

internal import CLinux
internal import Glibc
package import Primitives

/// A network interface.
package struct NetworkLink: Equatable, Sendable {
  package var index: UInt32
  package var name: String
  /// Six bytes in the low 48 bits; 0 where there is none.
  package var hardwareAddress: UInt64
  package var isUp: Bool
  package var hasCarrier: Bool

  package init(index: UInt32, name: String, hardwareAddress: UInt64, isUp: Bool, hasCarrier: Bool) {
    self.index = index
    self.name = name
    self.hardwareAddress = hardwareAddress
    self.isUp = isUp
    self.hasCarrier = hasCarrier
  }
}

/// An address on an interface. One of IPv6 that is added needs no duplicate address detection and is never a source.
package struct InterfaceAddress: Equatable, Sendable {
  package var interface: UInt32
  package var prefix: AddressPrefix
  /// Added by us: it carries our mark (IFA_PROTO; kernels before 5.18 do not keep it).
  package var isOurs: Bool
  /// Whether the kernel makes no route to the prefix for it.
  package var noPrefixRoute = false

  package init(interface: UInt32, prefix: AddressPrefix, isOurs: Bool, noPrefixRoute: Bool = false) {
    self.interface = interface
    self.prefix = prefix
    self.isOurs = isOurs
    self.noPrefixRoute = noPrefixRoute
  }
}

extension NetworkLink {
  fileprivate init(_ link: afloat_link) {
    var link = link
    index = link.index
    name = withUnsafeBytes(of: &link.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    hardwareAddress = withUnsafeBytes(of: &link.hardware) { $0.reduce(0) { $0 << 8 | UInt64($1) } }
    isUp = link.up != 0
    hasCarrier = link.carrier != 0
  }
}

extension InterfaceAddress {
  fileprivate init?(_ address: afloat_address) {
    var raw = address
    let ip = withUnsafeBytes(of: &raw.address) { bytes in
      address.family == 4
        ? IPAddress(v4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        : IPAddress(
          v6High: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
          low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
    guard let prefix = AddressPrefix(address: ip, length: Int(address.prefix)) else { return nil }
    self.init(
      interface: address.interface, prefix: prefix, isOurs: address.protocol == UInt8(AFLOAT_ADDRESS_PROTOCOL),
      noPrefixRoute: address.flags & afloat_address_no_prefix_route != 0)
  }

  fileprivate var raw: afloat_address {
    var address = afloat_address()
    address.interface = interface
    address.family = prefix.address.family.rawValue
    withUnsafeMutableBytes(of: &address.address) { $0.copyBytes(from: prefix.address.bytes) }
    address.prefix = UInt8(prefix.length)
    address.protocol = isOurs ? UInt8(AFLOAT_ADDRESS_PROTOCOL) : 0
    address.flags = noPrefixRoute ? afloat_address_no_prefix_route : 0
    return address
  }
}

/// A connection for requests. One thread at a time.
package struct NetlinkConnection: ~Copyable, @unchecked Sendable {
  // Unchecked: the connection is a value of one owner; it may move to another thread, never be used by two.
  private let connection: OpaquePointer

  package init() throws(SystemError) {
    var opened: OpaquePointer?
    let code = afloat_netlink_open(&opened)
    guard code == 0, let opened else { throw SystemError("open a netlink socket", code: -code) }
    connection = opened
  }

  deinit { afloat_netlink_close(connection) }

  /// Adds an address; one that is there already is fine. Needs CAP_NET_ADMIN.
  /// - Parameter lifetime: whole seconds after which the kernel removes it by itself, up to a second late; for one that is
  ///   there already they begin anew. Nil: it stays.
  package borrowing func add(_ address: InterfaceAddress, lifetime: TimeSpan? = nil) throws(SystemError) {
    var raw = address.raw
    let seconds = lifetime.map { max(1, $0.nanoseconds / 1_000_000_000) } ?? 0
    let code = afloat_netlink_add_address(connection, &raw, UInt32(clamping: seconds))
    guard code == 0 else { throw SystemError("add \(address.prefix) to interface \(address.interface)", code: -code) }
  }

  /// Removes an address; one that is not there (or whose interface is gone) is fine.
  package borrowing func remove(_ address: InterfaceAddress) throws(SystemError) {
    var raw = address.raw
    let code = -afloat_netlink_remove_address(connection, &raw)
    guard code == 0 || code == EADDRNOTAVAIL || code == ENODEV else {
      throw SystemError("remove \(address.prefix) from interface \(address.interface)", code: code)
    }
  }

  /// Brings an interface up, as `ip link set … up`.
  package borrowing func setUp(interface index: UInt32) throws(SystemError) {
    let code = afloat_netlink_set_up(connection, index)
    guard code == 0 else { throw SystemError("bring interface \(index) up", code: -code) }
  }

  /// Those of this network namespace; none where they cannot be had.
  package static func ownAddresses() -> [IPAddress] {
    ((try? NetlinkConnection().addresses()) ?? []).map(\.prefix.address)
  }

  /// All addresses of this network namespace.
  package borrowing func addresses() throws(SystemError) -> [InterfaceAddress] {
    var room = 256
    while true {
      var list = [afloat_address](repeating: afloat_address(), count: room)
      let count = Int(afloat_netlink_addresses(connection, &list, Int32(room)))
      guard count >= 0 else { throw SystemError("list the addresses of this host", code: Int32(-count)) }
      if count <= room { return list.prefix(count).compactMap(InterfaceAddress.init) }
      room = count * 2
    }
  }

  package borrowing func links() throws(SystemError) -> [NetworkLink] {
    var room = 256
    while true {
      var list = [afloat_link](repeating: afloat_link(), count: room)
      let count = Int(afloat_netlink_links(connection, &list, Int32(room)))
      guard count >= 0 else { throw SystemError("list the interfaces of this host", code: Int32(-count)) }
      if count <= room { return list.prefix(count).map(NetworkLink.init) }
      room = count * 2
    }
  }
}

package enum NetworkNews: Equatable, Sendable {
  /// New, or changed.
  case link(NetworkLink)
  case linkGone(NetworkLink)
  case address(InterfaceAddress)
  case addressGone(InterfaceAddress)
  /// The kernel dropped news: list again.
  case lost
}

/// Hears of changes of links and addresses.
package struct NetlinkWatcher: ~Copyable, @unchecked Sendable {
  // Unchecked: as for `NetlinkConnection`.
  private let connection: OpaquePointer

  package init() throws(SystemError) {
    var opened: OpaquePointer?
    let code = afloat_netlink_watch(&opened)
    guard code == 0, let opened else { throw SystemError("watch the network interfaces", code: -code) }
    connection = opened
  }

  deinit { afloat_netlink_close(connection) }

  /// For polling; owned by the watcher.
  package var rawDescriptor: Int32 { afloat_netlink_descriptor(connection) }

  /// The next news, nil when there is none. Does not block.
  package borrowing func next() -> NetworkNews? {
    var news = afloat_news()
    while afloat_netlink_news(connection, &news) == 1 {
      switch news.kind {
      case AFLOAT_NEWS_LINK.rawValue: return .link(NetworkLink(news.link))
      case AFLOAT_NEWS_LINK_GONE.rawValue: return .linkGone(NetworkLink(news.link))
      case AFLOAT_NEWS_ADDRESS.rawValue: if let address = InterfaceAddress(news.address) { return .address(address) }
      case AFLOAT_NEWS_ADDRESS_GONE.rawValue:
        if let address = InterfaceAddress(news.address) { return .addressGone(address) }
      default: return .lost
      }
    }
    return nil
  }
}
