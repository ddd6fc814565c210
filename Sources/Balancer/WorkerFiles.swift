// Files, sent by the balancer itself (`static` of a route). A file's path is the one that was matched, so nothing leads out
// of the folder that the kernel would not refuse as well; names that start with a dot are not served, but for .well-known.
//
// The disk: a small file that is in memory goes out with its head. Others are sent by the kernel, a part at a time, as the
// client takes them. Before each part the worker looks whether its end is in memory; if not, it asks the kernel to read
// ahead, goes on with its other connections and looks again a tick later. Only a disk that does not deliver in
// `largestLookCount` ticks is waited for, and then for no more than one part.

internal import HTTP1
internal import Kernel
internal import Primitives
internal import Routing

struct FileRoot {
  let root: Text
  let index: Text
  /// A path that leads to it without "/" at its end is redirected to the one with.
  let isRedirected: Bool
}

extension Worker {
  /// Files open at once; beyond it 503.
  static let largestOpenFileCount = 1024
  private static let largestPathByteCount = 4096
  /// Files up to this go out with their head.
  private static let smallFileByteCount: Int64 = 16 * 1024
  private static let partByteCount: Int64 = 128 * 1024
  private static let largestLookCount: UInt8 = 30

  /// Answers a request for a file.
  mutating func serveFile(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ count: Int, _ folder: FileRoot, _ path: TargetPath,
    _ rewrite: PrefixRewrite?
  ) {
    takeWholeBody(client, head, count)
    guard head.method == .get || head.method == .head else {
      let start: StaticString = "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\n"
      sendPrepared(index, client, Text(start))
      return
    }
    guard let relative = filePath(path, rewrite, folder) else {
      answerFile(index, client, status: 404, "there is no such file")
      return
    }
    if openFileCount >= Self.largestOpenFileCount {
      answerFile(index, client, status: 503, "this node sends as many files as it can")
      return
    }
    let raw = ServedFile.open(folder.root.baseAddress!, relative.baseAddress!)
    if raw < 0 {
      if StreamSocket.isOutOfDescriptors(raw) {
        answerFile(index, client, status: 503, "this node has too many files open")
      } else if ServedFile.isForbidden(raw) {
        answerFile(index, client, status: 403, "the file may not be read")
      } else {
        answerFile(index, client, status: 404, "there is no such file")
      }
      return
    }
    switch ServedFile.kind(raw) {
    case .file(let byteCount, let second, let nanosecond):
      let version = FileVersion(
        byteCount: byteCount, modifiedSecond: second, modifiedNanosecond: nanosecond, now: Clock.unixNanoseconds)
      let answer = FileAnswer.decide(head, of: receiveStart, version)
      serve(
        index, client, raw, version, answer, MediaTypes.type(of: relative),
        lines: route(of: client)?.pointee.response.lines ?? .empty, ending: .answeredHere)
    case .folder:
      StreamSocket.close(raw)
      redirectToFolder(index, client, head, path)
    case .other:
      StreamSocket.close(raw)
      answerFile(index, client, status: 404, "there is no such file")
    }
  }

  private mutating func answerFile(_ index: Int32, _ client: Client, status: Int, _ reason: StaticString) {
    client.pointee.exchange.notes.ending = .answeredHere
    answer(index, client, status: status, reason)
  }

  /// The path below the folder, with a zero behind it, in the target area; nil for what is not served. It is that of a folder
  /// itself, not of its index, where a client's path without "/" at its end leads to one and is to be redirected.
  func filePath(_ path: TargetPath, _ rewrite: PrefixRewrite?, _ root: FileRoot) -> Text? {
    var byteCount = path.text.count
    if byteCount > Self.largestPathByteCount || byteCount == 0 { return nil }
    if let rewrite {
      byteCount = rewrite.writeDecoded(path, to: targetArea)
    } else {
      targetArea.update(from: path.text.baseAddress!, count: byteCount)
    }
    let isFolder = targetArea[byteCount - 1] == 47 && path.text.last != 47 && root.isRedirected
    if targetArea[byteCount - 1] == 47 && !isFolder {
      (targetArea + byteCount).update(from: root.index.baseAddress!, count: root.index.count)
      byteCount += root.index.count
    }
    targetArea[byteCount] = 0
    let hidden: StaticString = ".well-known"
    for position in 1..<byteCount where targetArea[position] == 46 && targetArea[position - 1] == 47 {
      // The zero and "/" differ from every letter of the name.
      let end = position + hidden.utf8CodeUnitCount
      for letter in 0..<hidden.utf8CodeUnitCount
      where targetArea[min(position + letter, byteCount)] != hidden.utf8Start[letter] { return nil }
      if targetArea[end] != 47 { return nil }
    }
    if isFolder {
      // "/docs" for "/": relative links on the index would lead to its siblings.
      targetArea[byteCount] = 46
      targetArea[byteCount + 1] = 0
      byteCount += 1
    }
    return Text(start: targetArea + 1, count: byteCount - 1)
  }

  private mutating func redirectToFolder(
    _ index: Int32, _ client: Client, _ head: RequestHead, _ path: TargetPath
  ) {
    let start: StaticString = "HTTP/1.1 301 Moved Permanently\r\nContent-Length: 0\r\nLocation: "
    precondition(Int(head.byteCount) * 3 + 16 < Self.targetByteCount)
    let written = RedirectTarget.writeFolder(path, of: receiveStart, to: targetArea)
    targetArea[written] = 13
    targetArea[written + 1] = 10
    let fields = Text(start: targetArea, count: written + 2)
    sendPrepared(index, client, Text(start), fields: fields)
  }

  // MARK: Sending

  /// `raw` is a file of that version, which is owned here; `lines` go into the head, `ending` is its end if all goes well. The
  /// request's body has been taken.
  mutating func serve(
    _ index: Int32, _ client: Client, _ raw: Int32, _ version: FileVersion, _ answer: FileAnswer,
    _ type: StaticString, lines: Text, ending: Ending
  ) {
    var range: Range<Int64> = 0..<0
    switch answer {
    case .whole, .unavailable: range = 0..<version.byteCount
    case .part(let part): range = part
    case .notModified, .preconditionFailed, .unsatisfiable: break
    }
    // Over the path, which has been opened.
    let fields = FileHead.write(answer, version, type, to: targetArea)
    let length = range.upperBound - range.lowerBound
    let isHead = client.pointee.exchange.method.isHead
    if length == 0 || isHead || length <= Self.smallFileByteCount {
      var body = Text.empty
      if length > 0 && !isHead {
        let area = pathArea
        let read = ServedFile.readCached(raw, area, Int(length), at: range.lowerBound)
        if read == Int(length) { body = Text(start: area, count: read) }
      }
      if body.count == Int(length) || isHead {
        StreamSocket.close(raw)
        client.pointee.exchange.notes.ending = ending
        sendPrepared(index, client, fields, lines: lines, body: body)
        return
      }
    }
    let closes = !client.pointee.keepsAlive || client.pointee.phase == .body || mustClose(client)
    if closes { client.pointee.keepsAlive = false }
    let written = LocalResponse.write(
      prepared: fields, fields: .empty, lines: lines,
      date: date.text(), body: .empty, closes: closes,
      withoutBody: false, oldVersion: client.pointee.exchange.isOldVersion, to: scratch, capacity: scratchByteCount)
    dropRequest(client)
    openFileCount += 1
    client.pointee.file = SentFile(
      descriptor: raw, offset: range.lowerBound, end: range.upperBound, ending: ending)
    client.pointee.phase = .file
    client.pointee.exchange.headIsSent = true
    _ = noteOwnAnswer(client, written)
    timers.set(index, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle)
    if !client.pointee.stream.write(scratch, written, &buffers) {
      clientIsGone(index, client)
      return
    }
    sendFile(index, client)
    if client.pointee.isOpen { watch(index, client) }
  }

  /// Sends as far as the client takes it and the disk has it.
  mutating func sendFile(_ index: Int32, _ client: Client) {
    // Its head waits; what comes next is called for when that has gone.
    if !client.pointee.stream.output.isEmpty { return }
    var turn = 0
    while client.pointee.file.offset < client.pointee.file.end {
      let offset = client.pointee.file.offset
      let part = min(Self.partByteCount, client.pointee.file.end - offset)
      turn &+= Self.bodyShare
      if turn > Self.largestTurn {
        goOnLater(index, client)
        return
      }
      if isOnDisk(index, client, offset, part) { return }
      let sent = ServedFile.send(
        client.pointee.file.descriptor, at: offset, Int(part), to: client.pointee.stream.descriptor)
      if sent == StreamSocket.wouldBlock {
        client.pointee.stream.noteUndelivered()
        resumeIdleTime(index, client)
        return
      }
      // 0: the file has become shorter than its head said; only an abort tells that.
      if sent <= 0 {
        if sent == 0 { client.pointee.exchange.notes.ending = .fileCutOff }
        closeClient(index, client, abortively: true)
        return
      }
      client.pointee.file.offset += Int64(sent)
      client.pointee.exchange.notes.bytesOut &+= Int64(sent)
      let isLast = client.pointee.file.offset == client.pointee.file.end
      resumeIdleTime(index, client)
      noteProgress(
        index, client, sent, isLast: isLast, span: snapshot.listeners[Int(client.pointee.listener)].idle)
    }
    finishFile(index, client)
  }

  /// Whether the next part has to come from the disk first: then it is on its way, and looked for again soon. A file whose
  /// disk was given up once is not looked for again: each of its parts is waited for.
  private mutating func isOnDisk(_ index: Int32, _ client: Client, _ offset: Int64, _ part: Int64) -> Bool {
    if client.pointee.file.lookCount >= Self.largestLookCount { return false }
    let raw = client.pointee.file.descriptor
    guard ServedFile.isOnDisk(raw, at: offset) || ServedFile.isOnDisk(raw, at: offset + part - 1) else {
      client.pointee.file.lookCount = 0
      return false
    }
    if client.pointee.file.lookCount == 0 { ServedFile.readAhead(raw, at: offset, 2 * Int(Self.partByteCount)) }
    client.pointee.file.lookCount += 1
    client.pointee.file.waitsForDisk = true
    timers.set(index, tick &+ 1)
    return true
  }

  /// The deadline was the disk's; it is the client's again.
  private mutating func resumeIdleTime(_ index: Int32, _ client: Client) {
    if !client.pointee.file.waitsForDisk { return }
    client.pointee.file.waitsForDisk = false
    timers.set(index, tick &+ snapshot.listeners[Int(client.pointee.listener)].idle)
  }

  mutating func fileIsLate(_ index: Int32, _ client: Client) {
    if client.pointee.file.waitsForDisk {
      sendFile(index, client)
    } else if !clientTakes(index, client) {
      client.pointee.exchange.notes.ending = .clientStalled
      closeClient(index, client, abortively: true)
    }
  }

  private mutating func finishFile(_ index: Int32, _ client: Client) {
    let ending = client.pointee.file.ending
    closeFile(client)
    noteEnd(client, ending)
    if client.pointee.keepsAlive && !mustClose(client) {
      awaitNextRequest(index, client)
      if client.pointee.stream.hasNext { goOnLater(index, client) }
    } else {
      client.pointee.keepsAlive = false
      beginLinger(index, client)
    }
  }

  mutating func closeFile(_ client: Client) {
    if client.pointee.file.descriptor < 0 { return }
    StreamSocket.close(client.pointee.file.descriptor)
    client.pointee.file = SentFile()
    openFileCount -= 1
  }
}

extension Text {
  /// A constant.
  init(_ text: StaticString) { self.init(start: text.utf8Start, count: text.utf8CodeUnitCount) }
}
