// Golden texts: what an operator reads for each kind of mistake. The texts are part of the product.

import Settings
import Testing

@Suite("Errors") struct ErrorsTests {
  @Test("all errors of a file come at once, each with its place and what would be right") func allAtOnce() {
    let text = """
      cluster:
        nam: zone-a
        interface: [eth0, eth0]
        key: secret
        heartbeat: 10
        dead_after: "3"
        transport: unicst
        profile: lan
        group: 192.0.2.1:7076
        members:
          n1: 192.0.2.11
          n2: 192.0.2.11
          n3: {address: "fe80::1"}
          bad name: 192.0.2.14
      vips:
        web: {addresses: [192.0.2.100, 192.0.2.0/24], prefer: [n4, n1, n1], failback: later, quorum: majority}
        mail: {adresses: [192.0.2.100/24]}
      listeners:
        web: {bind: ["*:80", 8080, "2001:db8::1"], pool: ap, mode: udp}
        tcp: {bind: "*:80", mode: tcp, pool: app, served_by_header: X-Served-By, timeouts: {idle: 5}}
      pools:
        app:
          balance: roundrobin
          affinity: cookie
          servers: {s1: 192.0.2.21, s2: "-pp.example.org:80", s3: 192.0.2.22:99999}
          check: {http: healthz, evry: 1s, expect: {status: 2xx}}
      services: {}
      """
    let expected = """
      1:1: cluster needs "name" (the name that its members share)
      2:3: unknown key "nam" in cluster (did you mean "name"?)
      3:21: cluster.interface[1]: eth0 is there twice (keep one)
      4:8: cluster.key must be file:PATH, not the key itself or another kind of source (for instance file:cluster.key, relative to this file)
      5:14: cluster.heartbeat must be a duration, not "10" (write a whole number with its unit: 10ms; units are ms, s, m, h)
      6:15: cluster.dead_after must be a whole number, not "3" (from 2 to 100, without quotes)
      7:14: cluster.transport cannot be "unicst" (did you mean "unicast"?)
      8:3: "profile" is not supported yet (remove it)
      9:10: cluster.group: 192.0.2.1 is not a multicast address (from 224.0.0.0 to 239.255.255.255)
      11:9: cluster.members.n1 has 1 address for 2 interfaces (one for each of eth0, eth0, for instance {address: [192.0.2.11, 198.51.100.11]})
      12:9: cluster.members.n2 has 1 address for 2 interfaces (one for each of eth0, eth0, for instance {address: [192.0.2.11, 198.51.100.11]})
      13:19: cluster.members.n3.address: fe80::1 is an address of one link only (write a global or unique local one, for instance 2001:db8::11)
      14:5: "bad name" cannot name a member (1 to 63 letters, digits, - _ . are allowed, a letter or digit first)
      16:21: vips.web.addresses[0]: 192.0.2.100 has no prefix length (for instance 192.0.2.100/24)
      16:34: vips.web.addresses[1]: 192.0.2.0/24 is the address of the network itself (write a host's address, for instance 192.0.2.100/24)
      16:58: vips.web.prefer: "n4" is not a member (did you mean "n1"?)
      16:66: vips.web.prefer: n1 is there twice (keep one)
      16:81: vips.web.failback cannot be "later" (choose never, at_once, or a duration such as 5m)
      16:88: "quorum" is not supported yet (remove it)
      17:3: vips.mail needs "addresses" (for instance [192.0.2.100/24])
      17:10: unknown key "adresses" in vips.mail (did you mean "addresses"?)
      19:24: listeners.web.bind[1]: "8080" is not ADDRESS:PORT (for instance "*:80")
      19:30: listeners.web.bind[2]: an IPv6 address and its port need brackets (for instance [2001:db8::1]:80)
      19:52: listeners.web.pool: there is no pool "ap" (did you mean "app"?)
      19:62: listeners.web.mode cannot be "udp" (choose from http, tcp)
      20:15: listeners.tcp.bind: 0.0.0.0:80 is bound by listener "web" too (an address and port belong to one listener)
      20:40: listeners.tcp.pool: pool "app" keeps clients by cookie, which a tcp listener cannot (use affinity: source, or mode: http)
      20:45: "served_by_header" has no meaning in a tcp listener (remove it, or use mode: http)
      20:87: "idle" has no meaning in a tcp listener (tunnel is the idle time-out of a connection in mode tcp)
      20:93: listeners.tcp.timeouts.idle must be a duration, not "5" (write a whole number with its unit: 60s; units are ms, s, m, h)
      23:14: pools.app.balance cannot be "roundrobin" (did you mean "round_robin"?)
      25:19: pools.app.servers.s1: "192.0.2.21" has no port (for instance 192.0.2.21:80)
      25:35: pools.app.servers.s2: "-pp.example.org" is not an address or the name of a host (for instance 192.0.2.21:8080)
      25:61: pools.app.servers.s3: "99999" is not a port (a port is a number from 1 to 65535)
      26:19: pools.app.check.http: "healthz" is not a path (it starts with / and has no spaces, for instance /healthz)
      26:28: unknown key "evry" in pools.app.check (did you mean "every"?)
      26:55: pools.app.check.expect.status must be a status or a range of them, not "2xx" (for instance 200-399)
      27:1: "services" is not supported yet (remove it)
      """
    #expect(errors(text) == expected.split(separator: "\n").map { "afloat.yaml:" + $0 })
  }

  @Test(
    "one mistake gives one error",
    arguments: [
      ("", "1:1: the file is empty (a minimal file has listeners and pools, and for a VIP cluster and vips)"),
      (
        "# only a comment\n",
        "1:1: the file is empty (a minimal file has listeners and pools, and for a VIP cluster and vips)"
      ),
      ("log: {}\n", "1:1: there is nothing to do: no cluster and no listeners (add listeners and pools, or a cluster)"),
      ("[]", "1:1: the file must be a map, not a list (the keys cluster, vips, listeners, pools at the top level)"),
      (
        "listeners: [",
        "2:1: this is not YAML: did not find expected node content (while parsing a flow node that starts in line 2)"
      ),
      (
        "\tlisteners: 1",
        "1:1: this is not YAML: found character that cannot start any token (indent with spaces, and quote text that starts with a special character)"
      ),
      (
        "a: b: c",
        "1:5: this is not YAML: mapping values are not allowed in this context (check the indentation, and put a space behind each colon)"
      ),
      (
        "bind: [*:80]",
        "1:9: this is not YAML: did not find expected alphabetic or numeric character (quote text that starts with *: \"*:80\")"
      ),
      ("x: *nowhere", "1:4: this is not YAML: found undefined alias (quote text that starts with *: \"*:80\")"),
      (
        "log: {}\n---\nlog: {}", "2:1: a second YAML document begins here (a configuration is one document; remove ---)"
      ),
      ("lo\u{1}g: {}", "1:3: this is not YAML: control characters are not allowed (remove the control character)"),
      ("{[a]: 1}", "1:2: a key must be a single word (lists and maps cannot be keys)"),
      ("lisseners: {}", "1:1: unknown key \"lisseners\" at the top level (did you mean \"listeners\"?)"),
      (
        "frontend: {}",
        "1:1: unknown key \"frontend\" at the top level (known here: node, cluster, balancer, vips, listeners, pools, log)"
      ),
      (
        "vips: {web: {addresses: [192.0.2.1/24]}}\n" + web,
        "1:1: vips need a cluster (add cluster: with the members, or remove vips)"
      ),
      ("node: n9\n" + cluster, "1:7: node: \"n9\" is not among the members (did you mean \"n1\"?)"),
      (
        "node: a b\n" + cluster,
        "1:7: node: \"a b\" cannot name a node (1 to 63 letters, digits, - _ . are allowed, a letter or digit first)"
      ),
      (
        "balancer: {threads: many}\n" + web,
        "1:21: balancer.threads must be a whole number, not \"many\" (from 1 to 64, without quotes)"
      ),
      ("balancer: {threads: 0}\n" + web, "1:21: balancer.threads is 0 (it must be from 1 to 64)"),
      ("api: {listen: none}\n" + web, "1:1: \"api\" is not supported yet (remove it)"),
      (
        "log: {level: loud}\n" + web,
        "1:14: log.level cannot be \"loud\" (choose from trace, debug, info, notice, warning, error, critical)"
      ),
      (
        "log: {access: {to: sysloq}}\n" + web,
        "1:20: log.access.to cannot be \"sysloq\" (did you mean \"syslog\"?)"
      ),
      (
        "log: {access: {to: access.log}}\n" + web,
        "1:20: log.access.to cannot be \"access.log\" (choose from none, stdout, syslog, or write the whole path of a file,"
          + " for instance /var/log/afloat/access.log)"
      ),
      (
        "log: {access: {to: stdout, format: haproxy}}\n" + web,
        "1:36: log.access.format cannot be \"haproxy\" (choose from combined, json, hap)"
      ),
      (
        "log: {access: {format: json}}\n" + web,
        "1:7: log.access does not say where lines go (add to: FILE, stdout, syslog or none)"
      ),
      ("log: 3\n" + web, "1:6: log must be a map, not \"3\" ({level: info, format: text})"),
      (
        "listeners: {l: {bind: \"*:80\", pool: p}}",
        "1:37: listeners.l.pool: there is no pool \"p\" (add it under pools:)"
      ),
    ]) func oneMistake(_ text: String, _ expected: String)
  {
    #expect(errors(text) == ["afloat.yaml:" + expected])
  }

  @Test(
    "a mistake in the cluster",
    arguments: [
      ("heartbeat: 20s", "7:14: cluster.heartbeat is 20s (it must be from 1ms to 10s)"),
      (
        "heartbeat: 500us",
        "7:14: cluster.heartbeat must be a duration, not \"500us\" (write a whole number with its unit: 10ms; units are ms, s, m, h)"
      ),
      (
        "heartbeat: [1ms]",
        "7:14: cluster.heartbeat must be a duration, not a list (write a whole number with its unit: 10ms; units are ms, s, m, h)"
      ),
      (
        "heartbeat:",
        "7:3: cluster.heartbeat must be a duration, not empty (write a whole number with its unit: 10ms; units are ms, s, m, h)"
      ),
      ("dead_after: 1", "7:15: cluster.dead_after is 1 (it must be from 2 to 100)"),
      (
        "dead_after: 1.5",
        "7:15: cluster.dead_after must be a whole number, not \"1.5\" (from 2 to 100, without quotes)"
      ),
      ("max_draining: 0", "7:17: cluster.max_draining is 0 (it must be from 1 to 64)"),
      ("profile: lan", "7:3: \"profile\" is not supported yet (remove it)"),
      (
        "group: nowhere",
        "7:10: cluster.group must be ADDRESS:PORT of a multicast group, not \"nowhere\" (for instance 239.255.70.76:7076)"
      ),
      (
        "group: 192.0.2.1:7076",
        "7:10: cluster.group: 192.0.2.1 is not a multicast address (from 224.0.0.0 to 239.255.255.255)"
      ),
      (
        "group: \"[2001:db8::1]:7076\"",
        "7:10: cluster.group: 2001:db8::1 is not a multicast address (for instance [ff02::7076]:7076)"
      ),
      (
        "group: \"[ff01::1]:7076\"",
        "7:10: cluster.group: ff01::1 does not leave the host (for instance [ff02::7076]:7076)"
      ),
      (
        "group: \"[ff02::7076]:7076\"",
        "7:10: cluster.group: ff02::7076 is IPv6, the members' addresses are not (for instance 239.255.70.76:7076)"
      ),
      ("<<: {a: 1}", "7:3: unknown key \"<<\" in cluster (YAML merge keys are not supported; write the keys out)"),
    ]) func clusterMistakes(_ line: String, _ expected: String)
  {
    let text = """
      # one line
      cluster:
        name: zone-a
        interface: eth0
        key: file:cluster.key
        members: {n1: 192.0.2.11, n2: 192.0.2.12}
        \(line)
      """
    #expect(errors(text) == ["afloat.yaml:" + expected])
  }

  @Test(
    "a mistake in a VIP",
    arguments: [
      (
        "addresses: 192.0.2.100/24",
        "20: vips.web.addresses must be a list, not \"192.0.2.100/24\" (for instance [192.0.2.100/24])"
      ),
      (
        "addresses: [192.0.2.12/24]",
        "21: vips.web.addresses[0]: 192.0.2.12 is the address of member n2 (a VIP needs an address of its own)"
      ),
      (
        "addresses: [192.0.2.255/24]",
        "21: vips.web.addresses[0]: 192.0.2.255/24 is a broadcast address (write a host's address, for instance 192.0.2.100/24)"
      ),
      (
        "addresses: [192.0.2.100/33]",
        "21: vips.web.addresses[0] must be an address with its prefix length, not \"192.0.2.100/33\" (for instance 192.0.2.100/24)"
      ),
      (
        "addresses: [\"2001:db8::/64\"]",
        "21: vips.web.addresses[0]: 2001:db8::/64 is the address of the network itself (write a host's address, for instance 2001:db8::100/64)"
      ),
      (
        "addresses: [\"2001:db8::1\"]",
        "21: vips.web.addresses[0]: 2001:db8::1 has no prefix length (for instance 2001:db8::1/64)"
      ),
      (
        "addresses: [\"ff02::1/64\"]",
        "21: vips.web.addresses[0]: ff02::1/64 is not an address for a VIP (write a host's address, for instance 2001:db8::100/64)"
      ),
      ("addresses: [192.0.2.9/24], interface: [eth0, eth1]", "54: vips.web.interface names 2 interfaces (keep one)"),
      (
        "addresses: [\"::ffff:192.0.2.1/120\"]",
        "21: vips.web.addresses[0]: ::ffff:c000:201/120 is not an address for a VIP (write a host's address, for instance 2001:db8::100/64)"
      ),
      ("addresses: []", "20: vips.web.addresses has 0 addresses (from 1 to 16)"),
      (
        "addresses: [192.0.2.9/24, 192.0.2.9/24]",
        "35: vips.web.addresses[1]: 192.0.2.9 is there twice (an address belongs to one VIP)"
      ),
      (
        "addresses: [192.0.2.50/24]",
        "21: vips.web.addresses[0]: 192.0.2.50 is an address of VIP \"other\" too (an address belongs to one VIP)"
      ),
      (
        "addresses: [192.0.2.9/24], prefer: n1",
        "44: vips.web.prefer must be spread or a list of members, not \"n1\" (for instance [n1, n2])"
      ),
      (
        "addresses: [192.0.2.9/24], prefer: [n3]",
        "45: vips.web.prefer: n3 is a witness, which never holds a VIP (remove it here, or change its role)"
      ),
      (
        "addresses: [192.0.2.9/24], requires: [balancer]",
        "46: vips.web.requires: the balancer has nothing to do without listeners (remove it, or add listeners)"
      ),
      (
        "addresses: [192.0.2.9/24], requires: [balancr]",
        "47: vips.web.requires[0] cannot be \"balancr\" (did you mean \"balancer\"?)"
      ),
      (
        "addresses: [192.0.2.9/24], interface: a/b",
        "47: vips.web.interface: \"a/b\" cannot be an interface (1 to 15 characters, for instance eth0)"
      ),
      ("addresses: [192.0.2.9/24], announce: 0s", "46: vips.web.announce is 0s (it must be from 1s to 1h)"),
    ]) func vipMistakes(_ fields: String, _ expected: String)
  {
    let text = cluster.replacing("n3: 192.0.2.13", with: "n3: {address: 192.0.2.13, role: witness}")
    #expect(
      errors(text + "vips:\n  other: {addresses: [192.0.2.50/24]}\n  web: {\(fields)}\n") == [
        "afloat.yaml:8:" + expected
      ])
  }

  @Test(
    "a mistake in a listener",
    arguments: [
      (
        "{bind: [\"*:0\"], pool: app}",
        "listeners.web.bind[0]: \"0\" is not a port (a port is a number from 1 to 65535)"
      ),
      ("{bind: [\"www:80\"], pool: app}", "listeners.web.bind[0]: \"www\" is not an address (for instance \"*:80\")"),
      ("{bind: [{address: \"*:80\", tls: {}}], pool: app}", "\"tls\" is not supported yet (remove it)"),
      ("{bind: \"*:80\"}", "listeners.web needs \"pool\" (the name of the pool that serves it)"),
      (
        "{bind: \"*:80\", pool: app, routes: []}",
        "listeners.web.routes is empty (for instance [{match: {host: www.example.org}, pool: app}])"
      ),
      (
        "{bind: \"*:80\", pool: app, limits: {head_size: 1MB}}",
        "listeners.web.limits.head_size must be a size, not \"1MB\" (write a whole number with its unit: 16KiB; units are B, KiB, MiB, GiB)"
      ),
      (
        "{bind: \"*:80\", pool: app, limits: {head_size: 1MiB}}",
        "listeners.web.limits.head_size is 1MiB (it must be from 1KiB to 64KiB)"
      ),
      (
        "{bind: \"*:80\", pool: app, limits: {conections: 1}}",
        "unknown key \"conections\" in listeners.web.limits (did you mean \"connections\"?)"
      ),
      (
        "{bind: \"*:80\", pool: app, served_by_header: \"a b\"}",
        "listeners.web.served_by_header must be no or the name of a header, not \"a b\" (for instance X-Served-By)"
      ),
      (
        "{bind: \"*:80\", pool: app, served_by_header: yes}",
        "listeners.web.served_by_header must be no or the name of a header, not yes (for instance X-Served-By)"
      ),
      (
        "{bind: \"*:80\", pool: app, served_by_header: Content-Length}",
        "listeners.web.served_by_header: Content-Length has a meaning of its own in HTTP (for instance X-Served-By)"
      ),
      (
        "{bind: \"*:80\", pool: app, forwarded: {trust: [192.0.2.1]}}",
        "listeners.web.forwarded.trust[0] must be a network with its prefix length, not \"192.0.2.1\" (for instance 192.0.2.1/32)"
      ),
      (
        "{bind: \"*:80\", pool: app, forwarded: {style: xff}}",
        "listeners.web.forwarded.style cannot be \"xff\" (choose from x-forwarded, forwarded, both, none)"
      ),
      (
        "{bind: [\"*:80\", \"0.0.0.0:80\"], pool: app}",
        "listeners.web.bind[1]: 0.0.0.0:80 is there twice (an address and port belong to one listener)"
      ),
    ]) func listenerMistakes(_ fields: String, _ expected: String)
  {
    let lines = errors("pools: {app: {servers: {s: 192.0.2.21:80}}}\nlisteners:\n  web: \(fields)\n")
    #expect(lines.count == 1)
    #expect(lines.first?.split(separator: ":", maxSplits: 3).last.map { String($0.dropFirst()) } == expected)
    #expect(lines.first?.hasPrefix("afloat.yaml:3:") == true)
  }

  @Test("every repetition of a key is found, with the rest of the errors") func repeatedKeys() {
    let text = """
      pools:
        app: {servers: {s1: 192.0.2.1:80, s1: 192.0.2.2:80}, "check": none, check: tcp}
      pools:
        b: {servers: {s: 192.0.2.1:80}}
        b: {servers: {s: 192.0.2.1:80}, balanse: x}
      """
    #expect(
      errors(text) == [
        "afloat.yaml:2:37: \"s1\" is there more than once (it is in line 2 too; keep one)",
        "afloat.yaml:2:71: \"check\" is there more than once (it is in line 2 too; keep one)",
        "afloat.yaml:3:1: \"pools\" is there more than once (it is in line 1 too; keep one)",
        "afloat.yaml:5:3: \"b\" is there more than once (it is in line 4 too; keep one)",
        "afloat.yaml:5:35: unknown key \"balanse\" in pools.b (did you mean \"balance\"?)",
      ])
  }
}
