// The id of a request, where ids are logged: servers get it as X-Request-ID, so that their logs can be laid beside ours.
// Without a log, or with one in HAProxy's format, whose lines have no id, none of this runs, and the field passes as any other.
// And the name of the server that answers, where a listener tells it to clients.

internal import HTTP1
internal import Primitives

/// An X-Request-ID that came with a request.
enum ClientsID: UInt8 {
  case none
  /// A trusted forwarder has given it: it goes on to the server and into the log.
  case kept
  /// Nobody has to believe it: ours stands in its place.
  case replaced
}

extension Worker {
  /// Has the server get the id that is logged, in front of Via. A route that sets or removes the field has the last word.
  @inline(never)
  mutating func identify(_ client: Client, _ head: inout RequestHead, _ additions: inout RequestAdditions) {
    let clientsID = client.pointee.exchange.notes.clientsID
    if clientsID == .kept || route(of: client)?.pointee.request.decidesRequestID == true { return }
    if clientsID == .replaced {
      let name: StaticString = "x-request-id"
      let (bytes, fields) = (receiveStart, headScratch)
      withUnsafePointer(to: Text(start: name.utf8Start, count: name.utf8CodeUnitCount)) {
        head.cut(UnsafeBufferPointer(start: $0, count: 1), from: bytes, scratch: fields)
      }
    }
    let via = additions.via
    precondition(scratchByteCount >= RequestID.lineByteCount + via.count)
    RequestID.writeLine(requestID(of: client), to: scratch)
    if let start = via.baseAddress { (scratch + RequestID.lineByteCount).update(from: start, count: via.count) }
    additions.via = Text(start: scratch, count: RequestID.lineByteCount + via.count)
  }

  /// `served_by_header`: ours, and not what the server, or one behind it, says there.
  @inline(never)
  func nameServer(
    _ server: Int, _ client: Client, _ head: inout ResponseHead, _ additions: inout ResponseAdditions
  ) {
    hideName(client, &head)
    let place = Int(snapshot.listeners[Int(client.pointee.listener)].servedBy)
    let lines = snapshot.servers[server].servedBy
    if place < lines.count { additions.servedBy = lines[place] }
  }

  /// What a server, or one behind it, says in the field of `served_by_header`, if there is one.
  func hideName(_ client: Client, _ head: inout ResponseHead) {
    let listener = snapshot.listeners.baseAddress! + Int(client.pointee.listener)
    head.cut(listener.pointee.servedByName, from: receiveStart, scratch: headScratch)
  }

  /// The id of a trusted forwarder, while the request that it came with lasts; empty where there is none.
  func givenID(of client: Client) -> Text {
    let notes = client.pointee.exchange.notes
    guard notes.clientsID == .kept, notes.text.hasBlock else { return .empty }
    let counts = UnsafeRawPointer(notes.text.bytes).loadUnaligned(as: CapturedCounts.self)
    return Text(start: notes.text.bytes + CapturedCounts.byteCount, count: Int(counts.id))
  }
}
