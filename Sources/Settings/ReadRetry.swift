// `retry:` and `passive:` of a pool – what is done about a server that fails a request.

import Control
import Primitives

extension Reader {
  func retry(_ field: Field) -> PoolConfiguration.Retry {
    var retry = PoolConfiguration.Retry()
    let keys = Keys(["attempts", "budget", "on", "methods", "timeout", "status"])
    guard let fields = self.fields(field, keys, shape: "{attempts: 1, budget: 20%}") else { return retry }
    if let attempts = integer(fields["attempts"], 0...7) { retry.attempts = attempts }
    if let budget = percent(fields["budget"]) { retry.budgetPercent = budget }
    if let on = fields["on"] { retry.on = retryCauses(on, status: &retry.status) }
    if let timeout = fields["timeout"], flag(timeout) == true, !retry.on.contains(.timeout) {
      retry.on.append(.timeout)
    }
    if let status = fields["status"] { retry.status = retryStatus(status) }
    if let methods = fields["methods"] { retry.methods = retryMethods(methods) ?? retry.methods }
    return retry
  }

  /// A list of causes; one may be {status: [502, 503, 504]}.
  private func retryCauses(_ field: Field, status: inout [Int]) -> [PoolConfiguration.Retry.Cause] {
    guard let items = list(field, orOne: true, item: "connect, reused_connection, lost_connection") else { return [] }
    var causes: [PoolConfiguration.Retry.Cause] = []
    for item in items {
      if case .mapping = item.value.content {
        if let fields = self.fields(item, Keys(["status"]), shape: "{status: [502, 503, 504]}"),
          let field = fields["status"]
        {
          status = retryStatus(field)
        }
        continue
      }
      let cause = choice(
        item,
        [
          "connect": PoolConfiguration.Retry.Cause.connect, "reused_connection": .reusedConnection,
          "lost_connection": .lostConnection, "timeout": .timeout,
        ])
      if let cause, !causes.contains(cause) { causes.append(cause) }
    }
    return causes
  }

  private func retryStatus(_ field: Field) -> [Int] {
    guard let items = list(field, orOne: true, item: "502, 503, 504") else { return [] }
    return items.compactMap { item in
      guard let status = integer(item, 500...599) else { return nil }
      return status
    }
  }

  /// Methods whose requests may be sent a second time after a server may have seen them.
  private func retryMethods(_ field: Field) -> [String]? {
    if let word = field.text, ["idempotent", "safe"].contains(word.lowercased()) {
      return word.lowercased() == "safe" ? PoolConfiguration.Retry.safe : PoolConfiguration.Retry.idempotent
    }
    if let word = field.text, word == "none" { return [] }
    guard let items = list(field, orOne: true, item: "GET, HEAD") else { return nil }
    return items.compactMap { item in
      guard let text = item.text, PoolConfiguration.Retry.idempotent.contains(text) else {
        let remedy =
          "idempotent, safe, none, or a list of \(PoolConfiguration.Retry.idempotent.joined(separator: ", "))"
        add(item.position, "\(item.path): \(item.value.kind) may not be sent twice", remedy)
        return nil
      }
      return text
    }
  }

  /// Nil: `passive: none`.
  func passive(_ field: Field) -> PoolConfiguration.Passive? {
    if let word = field.text, ["none", "no", "off"].contains(word.lowercased()) { return nil }
    var passive = PoolConfiguration.Passive()
    let keys = Keys(["failures", "within", "eject", "at_most"])
    guard let fields = self.fields(field, keys, shape: "{failures: 5, within: 10s, eject: 30s, at_most: 50%}, or none")
    else {
      return passive
    }
    if let failures = integer(fields["failures"], 1...100) { passive.failures = failures }
    let range = TimeSpan.milliseconds(100) ... .seconds(24 * 3600)
    if let span = duration(fields["within"], range, example: "10s") { passive.within = span }
    if let span = duration(fields["eject"], range, example: "30s") { passive.eject = span }
    if let share = percent(fields["at_most"]) { passive.atMostPercent = share }
    return passive
  }
}
