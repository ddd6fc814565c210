// The balancer: HTTP and TCP between clients and health-checked servers. Started by `afloat agent`.

import Balancer
import Glibc

@main struct Main {
  static func main() { exit(BalancerProgram.run(arguments: CommandLine.arguments)) }
}
