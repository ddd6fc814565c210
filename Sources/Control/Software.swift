// Which Afloat this is: told to peers in the heartbeat, shown by `afloat version`, `members` and the API.

package enum Software {
  package static let version = "0.1.0"
}
