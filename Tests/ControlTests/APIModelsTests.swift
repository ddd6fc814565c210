// The JSON of the local API: its keys are a contract with scripts.

import Control
import Foundation
import Primitives
import Testing

@Suite("The API's JSON") struct APIModelsTests {
  static func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  @Test("members have the contract's keys, null where nothing is known") func member() throws {
    let member = APIMember(
      name: "n1", address: "192.0.2.11", role: "voter", state: .alive, rttMilliseconds: 0.5, lossIn: 0)
    #expect(
      try Self.json(member)
        == #"{"address":"192.0.2.11","configuration":null,"detection_ms":null,"last_heard_ms":null,"links":[],"loss_in":0,"loss_out":null,"name":"n1","#
        + #""paths":[],"role":"voter","rtt_ms":0.5,"self":false,"state":"alive","version":null,"worst_stall_ms":null}"#)
  }

  @Test("a member's paths have the contract's keys") func paths() throws {
    let path = APIPath(interface: "eth1", heard: false, lastHeardMilliseconds: 1200.5)
    #expect(try Self.json(path) == #"{"heard":false,"interface":"eth1","last_heard_ms":1200.5,"multicast":null}"#)
  }

  @Test("VIPs and servers have the contract's keys") func vipAndServer() throws {
    let vip = APIVIP(
      name: "web", addresses: ["192.0.2.100/24"], interface: "eth0", holder: nil,
      since: APITime(unixNanoseconds: 1_000_000), cause: "start")
    #expect(
      try Self.json(vip)
        == #"{"addresses":["192.0.2.100/24"],"cause":"start","claimed_by":null,"eligible":[],"fence":"none","holder":null,"#
        + #""holder_told_by":null,"ineligible":null,"interface":"eth0","name":"web","quorum":"none","requires":[],"since":"1970-01-01T00:00:00.001Z","term":null}"#
    )
    let server = APIServer(
      name: "s1", address: "192.0.2.21:80", state: .maint, weight: 100, connections: 1, requests: 2, failures: 3,
      lastCheck: "200 in 1 ms")
    #expect(
      try Self.json(server)
        == #"{"address":"192.0.2.21:80","connections":1,"failures":3,"host_name":null,"last_check":"200 in 1 ms","#
        + #""member":null,"name":"s1","requests":2,"requests_per_s":null,"state":"maint","weight":100}"#)
  }

  @Test("status has the contract's keys and reads back") func status() throws {
    let status = APIStatus(verdict: .noQuorum, reasons: ["x"], cluster: nil, node: "n1", version: "1")
    let text = try Self.json(status)
    #expect(text.contains(#""verdict":"NO QUORUM""#))
    #expect(text.contains(#""cluster":null"#))
    for key in ["reasons", "node", "members", "vips", "services", "pools", "drains"] {
      #expect(text.contains("\"\(key)\":"))
    }
    #expect(try JSONDecoder().decode(APIStatus.self, from: Data(text.utf8)) == status)
    #expect(status.verdict.exitStatus == 2)
  }

  @Test("absent optional keys are read as nothing, and unknown keys are skipped") func tolerance() throws {
    let text = #"{"name":"web","addresses":[],"interface":"e","cause":"","quorum":"none","fence":"none","new":1}"#
    let vip = try JSONDecoder().decode(APIVIP.self, from: Data(text.utf8))
    #expect(vip.holder == nil && vip.since == nil && vip.requires.isEmpty)
    let request = try JSONDecoder().decode(APIDrainRequest.self, from: Data("{}".utf8))
    #expect(request == APIDrainRequest())
  }

  @Test("requests carry only what was said") func requests() throws {
    #expect(
      try Self.json(APIDrainRequest(node: "n1", deadlineMilliseconds: 0, onDeadline: .force, untilReboot: true))
        == #"{"deadline_ms":0,"node":"n1","on_deadline":"force","until_reboot":true}"#)
    #expect(try Self.json(APIError(error: "no")) == #"{"error":"no"}"#)
  }

  @Test(
    "times are RFC 3339 and exact to the millisecond",
    arguments: [
      (0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
      (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (1_795_222_923_456, "2026-11-21T01:02:03.456Z"),
      (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ] as [(Int64, String)]) func times(_ milliseconds: Int64, _ text: String)
  {
    let time = APITime(unixNanoseconds: milliseconds * 1_000_000)
    #expect(time.description == text)
    #expect(APITime(text) == time)
  }

  @Test("every day of four centuries reads back") func everyDay() {
    for day in stride(from: Int64(0), to: 106_000, by: 7) {
      let time = APITime(unixNanoseconds: (day * 86_400 + 86_399) * 1_000_000_000)
      #expect(APITime(time.description) == time)
    }
  }

  @Test(
    "what is no time is refused",
    arguments: [
      "", "now", "2026-11-21", "2026-11-21T01:02:03", "2026-13-21T01:02:03Z", "2026-11-21T24:02:03Z",
      "2026-11-21T01:02:03.Z",
      "2026-11-21T01:02:03.1234567890Z", "2026-11-21 01:02:03Z", "2026-11-21T01:02:03+01:00", "1969-01-01T00:00:00Z",
    ]) func noTimes(_ text: String)
  { #expect(APITime(text) == nil) }
}
