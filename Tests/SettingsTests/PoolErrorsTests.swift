// What an operator reads for mistakes in pools.

import Settings
import Testing

@Suite struct PoolErrorsTests {
  @Test(
    "a mistake in a pool",
    arguments: [
      (
        "servers: {}",
        "pools.app.servers is empty (s1: 192.0.2.21:8080, one line for each server, or {members: yes, port: 8080})"
      ),
      (
        "servers: {members: yes, port: 80}",
        "pools.app.servers: there are no members without a cluster (write NAME: ADDRESS:PORT for each server)"
      ),
      ("servers: {s: {address: 192.0.2.1:80, tls: {}}}", "\"tls\" is not supported yet (remove it)"),
      ("servers: {s: {weight: 5}}", "pools.app.servers.s needs \"address\" (for instance 192.0.2.21:8080)"),
      (
        "servers: {s: {address: 192.0.2.1:80, weight: 1001}}",
        "pools.app.servers.s.weight is 1001 (it must be from 0 to 1000)"
      ),
      (
        "servers: {a: 192.0.2.1:80, b: 192.0.2.1:80}",
        "pools.app.servers.b: 192.0.2.1:80 is the address of server \"a\" too (keep one)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, affinity: {cookie: {same_site: none}}",
        "pools.app.affinity.cookie.same_site: browsers refuse same_site: none without secure (add secure: yes)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, affinity: {cookie: {name: __Host-A}}",
        "pools.app.affinity.cookie.name: browsers refuse a cookie whose name begins with __Host- without secure (add secure: yes)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, affinity: {cookie: {name: __secure-A, secure: no}}",
        "pools.app.affinity.cookie.name: browsers refuse a cookie whose name begins with __secure- without secure (add secure: yes)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, balance: hash",
        "pools.app.balance cannot be \"hash\" (did you mean {hash: source}? there are round_robin, least_connections, random_two, {hash: source | header NAME | cookie NAME | uri})"
      ),
      (
        "servers: {a: 192.0.2.1:80}, balance: leastconn",
        "pools.app.balance cannot be \"leastconn\" (did you mean least_connections? there are round_robin, least_connections, random_two, {hash: source | header NAME | cookie NAME | uri})"
      ),
      (
        "servers: {a: 192.0.2.1:80}, balance: fastest",
        "pools.app.balance cannot be \"fastest\" (choose from round_robin, least_connections, random_two, {hash: source | header NAME | cookie NAME | uri})"
      ),
      (
        "servers: {a: 192.0.2.1:80}, balance: {hash: address}",
        "pools.app.balance.hash cannot be \"address\" (choose from source, uri, header NAME, cookie NAME)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, affinity: {cookie: {name: \"a b\"}}",
        "pools.app.affinity.cookie.name: \"a b\" cannot name a cookie (1 to 64 letters, digits and - _ . are fine)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, check: http",
        "pools.app.check: http needs a path (for instance {http: /healthz})"
      ),
      (
        "servers: {a: 192.0.2.1:80}, check: {expect: {status: 200}}",
        "\"expect\" has a meaning only in an http check (add http: /healthz)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, check: {tcp: , method: GET}",
        "\"method\" has a meaning only in an http check (remove it; tcp has {send, expect})"
      ),
      ("servers: {a: 192.0.2.1:80}, check: {http: /, tcp: }", "pools.app.check is both http and tcp (keep one)"),
      ("servers: {a: 192.0.2.1:80}, check: {tls: yes}", "\"tls\" is not supported yet (remove it)"),
      (
        "servers: {a: 192.0.2.1:80}, check: {http: /, rise: 0}",
        "pools.app.check.rise is 0 (it must be from 1 to 100)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, check: {http: /, expect: {body_regex: (x}}",
        "pools.app.check.expect.body_regex: \"(x\" is not a regular expression (after 2 bytes: missing closing parenthesis)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, check: {http: /, method: HEAD, expect: {body_contains: x}}",
        "pools.app.check: the answer to HEAD has no body to look into (use method: GET, or remove what is expected of the body)"
      ),
      (
        "servers: {a: 192.0.2.1:80}, retry: {budget: 20}",
        "pools.app.retry.budget must be a share, not \"20\" (from 0% to 100%, for instance 20%)"
      ),
      (
        "servers: {a: 0.0.0.0:80}",
        "pools.app.servers.a: 0.0.0.0 is not the address of a host (for instance 192.0.2.21:8080)"
      ),
    ]) func poolMistakes(_ fields: String, _ expected: String)
  {
    let listener = "listeners: {web: {bind: [\"*:80\"], pool: app}}\npools:\n"
    let lines = errors(listener + "  app: {\(fields)}\n")
    #expect(lines.count == 1)
    #expect(
      lines.first?.split(separator: ":", maxSplits: 3).last.map { String($0.dropFirst()) }
        == expected)
    #expect(lines.first?.hasPrefix("afloat.yaml:3:") == true)
  }
}
