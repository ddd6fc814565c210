// Who hears whom, below the table of members: over which interfaces this node hears the others; a matrix of all, and in words
// what is wrong with it.

package import Control

extension Views {
  /// Larger clusters get only the words.
  private static let largestMatrix = 12
  /// Losses from here on are worth a sentence.
  private static let lossWorthWords = 0.05

  /// Empty where heartbeats have one interface.
  package func paths(_ members: [APIMember]) -> String {
    guard let interfaces = members.map({ $0.paths.map(\.interface) }).max(by: { $0.count < $1.count }),
      interfaces.count > 1
    else { return "" }
    var table = Table([("HEARD HERE", .left)] + interfaces.map { ("ON " + Words.printable($0), .left) })
    for member in members where !member.isSelf {
      let cells = interfaces.map { name in member.paths.first { $0.interface == name }.map(cell) ?? "-" }
      table.rows.append([Cell(member.name, .strong)] + cells)
    }
    return "\n" + table.text(style)
  }

  private func cell(_ path: APIPath) -> Cell {
    guard let isHeard = path.heard else { return Cell("not yet", .warning) }
    if isHeard { return path.multicast == false ? "by unicast" : Cell("yes", .good) }
    guard let heard = path.lastHeardMilliseconds else { return Cell("never", .bad) }
    guard heard.isFinite, (0..<1e15).contains(heard) else { return Cell("no", .bad) }
    return Cell("not for \(Words.span(seconds: Int64(heard / 1_000)))", .bad)
  }

  /// Empty where there are no two members that are alive.
  package func links(_ members: [APIMember]) -> String {
    let alive = members.filter { !$0.links.isEmpty }
    guard alive.count > 1 else { return "" }
    let faults = faults(alive)
    var text = ""
    // Between two members the table above says it all.
    if (3...Self.largestMatrix).contains(alive.count) {
      var table = Table([("HEARS", .left)] + alive.map { ("OF " + Words.printable($0.name), .right) })
      for member in alive {
        table.rows.append([Cell(member.name, .strong)] + alive.map { other in cell(member, other) })
      }
      text += "\n" + table.text(style)
    }
    for fault in faults { text += style.paint("link", .warning) + " " + Words.printable(fault) + "\n" }
    return text
  }

  private func cell(_ member: APIMember, _ other: APIMember) -> Cell {
    guard let link = member.links.first(where: { $0.name == other.name }), let hears = link.hears else { return "-" }
    guard hears else { return Cell("nothing", .bad) }
    let loss = link.lossIn ?? 0
    let trip = link.rttMilliseconds.map { ", " + Words.milliseconds($0) } ?? ""
    return Cell("\(Words.percent(loss)) lost\(trip)", loss >= Self.lossWorthWords ? .warning : nil)
  }

  /// Every pair once.
  private func faults(_ members: [APIMember]) -> [String] {
    var faults: [String] = []
    for (position, member) in members.enumerated() {
      for other in members[(position + 1)...] {
        guard let link = member.links.first(where: { $0.name == other.name }) else { continue }
        let (one, two) = (member.name, other.name)
        switch (link.hears, link.isHeard) {
        case (false, false): faults.append("\(one) and \(two) do not hear each other")
        case (true, false): faults.append(oneWay(hearer: one, deaf: two))
        case (false, true): faults.append(oneWay(hearer: two, deaf: one))
        default: break
        }
        if link.hears == true, let loss = link.lossIn, loss >= Self.lossWorthWords {
          faults.append("\(one) misses \(Words.percent(loss)) of the heartbeats of \(two)")
        }
        if link.isHeard == true, let loss = link.lossOut, loss >= Self.lossWorthWords {
          faults.append("\(two) misses \(Words.percent(loss)) of the heartbeats of \(one)")
        }
      }
    }
    return faults
  }

  private func oneWay(hearer: String, deaf: String) -> String {
    "\(deaf) does not hear \(hearer), which hears \(deaf): a one-way link (a firewall on \(deaf)? a switch that filters?)"
  }
}
