// The sorry site: what clients of a pool get while no server of it is up (`when_all_down`), as HAProxy's errorfile and nginx's
// error_page are used. Not for those that waited too long, found the queue full, or whose servers have all failed them while
// others may be fine: "down" is what checks, ejections and operators say of every server.
//
// A page is answered with 503 whatever path was asked for, so that no search engine and no cache takes it for what stood there.
// Its style sheets and pictures are files of the folder and answered as such: browsers use none that comes with 503.

internal import Control
internal import HTTP1
internal import Kernel
internal import Primitives
internal import Routing

enum SorrySite {
  case none
  /// Status line, fields and Content-Length; then the body.
  case respond(head: Text, body: Text)
  /// `root` and `index` end with a zero, which their counts leave out. `lines`: more fields of the page, and of files.
  case files(root: Text, index: Text, pageLines: Text, fileLines: Text)

  init(_ pool: PoolConfiguration, _ memory: RecordMemory) {
    // No server is back before it is checked again.
    let seconds = max(1, (pool.check.down.nanoseconds + 999_999_999) / 1_000_000_000)
    switch pool.whenAllDown {
    case .error, .pool: self = .none
    case .respond(let status, let body, var fields):
      if status == 503, !fields.contains(where: { $0.name.lowercased() == "retry-after" }) {
        fields.append(FieldText(name: "Retry-After", value: "\(seconds)"))
      }
      let head = PreparedAnswer.head(status, body, fields) { _ in false }
      self = .respond(head: memory.text(head), body: memory.text(body))
    case .files(let root, let index):
      let uncached = "Cache-Control: no-store\r\n"
      self = .files(
        root: memory.terminated(root), index: memory.terminated(index),
        pageLines: memory.text("\(uncached)Retry-After: \(seconds)\r\n"), fileLines: memory.text(uncached))
    }
  }

  var isNone: Bool { if case .none = self { true } else { false } }
}

extension Worker {
  /// Answers a request by the sorry site of its pool. `head` is a parse of `bytes`, which are not within the target area;
  /// what came behind it has been taken. False, and nothing is sent, if the pool has none or it is not there.
  @inline(never)
  mutating func sorry(
    _ index: Int32, _ client: Client, _ head: RequestHead?, of bytes: UnsafePointer<UInt8>, _ rewrite: PrefixRewrite?
  ) -> Bool {
    switch snapshot.pools[Int(client.pointee.exchange.pool)].terms.sorry {
    case .none: return false
    case .respond(let start, let body):
      client.pointee.exchange.notes.ending = .sorrySite
      sendPrepared(index, client, start, lines: .empty, body: body)
      return true
    case .files(let root, let name, let pageLines, let fileLines):
      let isRead = client.pointee.exchange.method == .get || client.pointee.exchange.method == .head
      if !isRead {
        let start: StaticString = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
        client.pointee.exchange.notes.ending = .sorrySite
        sendPrepared(index, client, Text(start), lines: pageLines)
        return true
      }
      let folder = FileRoot(root: root, index: name, isRedirected: true)
      if let head, sorryFile(index, client, head, of: bytes, folder, rewrite, fileLines) { return true }
      return sorryPage(index, client, folder, pageLines)
    }
  }

  /// As `sorry`, for a request that is held: it has waited, or a server has failed it.
  @inline(never)
  mutating func sorryForHeld(_ index: Int32, _ client: Client) -> Bool {
    let pool = snapshot.pools.baseAddress! + Int(client.pointee.exchange.pool)
    if pool.pointee.terms.sorry.isNone || client.pointee.exchange.request.isEmpty { return false }
    return sorry(index, client, parseHeld(client), of: scratch, nil)
  }

  /// The file that the path names; false where it names none, or the page itself.
  private mutating func sorryFile(
    _ index: Int32, _ client: Client, _ head: RequestHead, of bytes: UnsafePointer<UInt8>, _ folder: FileRoot,
    _ rewrite: PrefixRewrite?, _ lines: Text
  ) -> Bool {
    guard let path = TargetPath.read(head, of: bytes, area: pathArea), path.text.last != 47,
      let relative = filePath(path, rewrite, folder), !relative.elementsEqual(folder.index),
      let (raw, version) = openSorry(folder, relative)
    else { return false }
    let answer = FileAnswer.decide(head, of: bytes, version)
    serve(index, client, raw, version, answer, MediaTypes.type(of: relative), lines: lines, ending: .sorrySite)
    return true
  }

  private mutating func sorryPage(_ index: Int32, _ client: Client, _ folder: FileRoot, _ lines: Text) -> Bool {
    guard let (raw, version) = openSorry(folder, folder.index) else { return false }
    let type = MediaTypes.type(of: folder.index)
    serve(index, client, raw, version, .unavailable, type, lines: lines, ending: .sorrySite)
    return true
  }

  private func openSorry(_ folder: FileRoot, _ path: Text) -> (descriptor: Int32, version: FileVersion)? {
    if openFileCount >= Self.largestOpenFileCount { return nil }
    let raw = ServedFile.open(folder.root.baseAddress!, path.baseAddress!)
    if raw < 0 { return nil }
    if case .file(let byteCount, let second, let nanosecond) = ServedFile.kind(raw) {
      let version = FileVersion(
        byteCount: byteCount, modifiedSecond: second, modifiedNanosecond: nanosecond, now: Clock.unixNanoseconds)
      return (raw, version)
    }
    StreamSocket.close(raw)
    return nil
  }
}
