// The elector: heartbeats, election and virtual addresses. Started by `afloat agent`.

import Elector
import Glibc

@main struct Main {
  static func main() { exit(ElectorProgram.run(arguments: CommandLine.arguments)) }
}
