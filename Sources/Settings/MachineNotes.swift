// What a configuration needs of the machine that it is for, as far as that can be looked at: what is missing is no error, since
// it may come later or be the business of another node, but should not be found out by clients.

internal import Control
package import Primitives

extension Configuration {
  /// Of programs and of folders with files; each function says what is wrong with one.
  package func machineWarnings(
    program: (String) -> String?, folder: (String) -> String?
  ) -> [String] {
    programWarnings(program) + folderWarnings(folder)
  }

  /// Folders that files are sent from.
  package func folderWarnings(_ fault: (String) -> String?) -> [String] {
    var folders: [(owner: String, path: String)] = []
    for pool in pools {
      if case .files(let root, _) = pool.whenAllDown { folders.append(("when_all_down of pool \(pool.name)", root)) }
    }
    for route in listeners.flatMap(\.routes) {
      if case .files(let root, _) = route.action { folders.append(("static of route \(route.name)", root)) }
    }
    return folders.compactMap { folder in
      fault(folder.path).map { "\(folder.owner), \(folder.path): \($0)" }
    }
  }

  /// Listeners on addresses that are none of this machine's (`own`; none: not known) and that nothing in the file brings: no
  /// client gets there.
  package func bindWarnings(_ own: [IPAddress]) -> [String] {
    if own.isEmpty { return [] }
    let brought =
      vips.flatMap { $0.addresses.map(\.address) } + (cluster?.members ?? []).flatMap(\.addresses) + own
    return listeners.flatMap { listener in
      listener.bind.filter { bind in
        !bind.address.isUnspecified && !bind.address.isLoopback && !brought.contains(bind.address)
      }.map { bind in
        "listener \(listener.name) listens on \(bind), which is no address of this machine"
          + (cluster == nil ? "" : ", of a member or of a VIP")
      }
    }
  }
}
