// The configuration in force, for whoever answers questions about it, and what became of the last attempt to change it.

internal import Control
package import Settings
internal import Synchronization

package final class ConfigurationBoard: Sendable {
  private struct State {
    var configuration: Configuration
    var refusal: String?
  }
  private let state: Mutex<State>

  package init(_ configuration: Configuration) {
    state = Mutex(State(configuration: configuration))
  }

  package var configuration: Configuration { state.withLock { $0.configuration } }

  /// Why the file was refused when it was last read; nil if it is the one in force.
  package var refusal: String? { state.withLock { $0.refusal } }

  package func accept(_ configuration: Configuration) {
    state.withLock { $0 = State(configuration: configuration) }
  }

  package func refuse(_ why: String) { state.withLock { $0.refusal = why } }
}
