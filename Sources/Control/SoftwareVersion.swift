// The version of this software, in one place: `afloat version`, the heartbeats and the API say it.

package enum SoftwareVersion {
  package static let text = "0.1.0"
}
