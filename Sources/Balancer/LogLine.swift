// Records of the log in words: the combined format of Apache and nginx with fields of ours behind it, one JSON object per
// line, or HAProxy's format. Whatever clients send, a record stays one line, and nobody can end a quoted text early.

internal import Control
internal import Kernel
internal import Primitives

/// Open connections when a line is written, for HAProxy's format.
struct LogLoads {
  var all = 0
  var listener = 0
  var pool = 0
  var server = 0
  var serverQueue = 0
  var poolQueue = 0
}

/// Writes lines; remembers the texts of the second that it is in.
struct LogLine {
  let format: AccessLogConfiguration.Format
  /// Of the wall clock to the monotonic one, in nanoseconds.
  var unixOffset: Int64 = 0
  private var second: Int64 = .min
  private var local = LocalTime()
  private var universal = LocalTime()

  init(_ format: AccessLogConfiguration.Format) { self.format = format }

  /// Appends one line with its end.
  mutating func write(
    _ record: LogRecord, _ texts: LogTexts, _ loads: LogLoads, to buffer: inout LogBuffer
  ) {
    let textByteCount =
      texts.line.count + texts.host.count + texts.referer.count + texts.agent.count + texts.listener.count
      + texts.route.count + texts.pool.count + texts.server.count + texts.id.count
    buffer.makeRoom(1024 + LogBuffer.largestEscape * textByteCount)
    let moment = record.began &+ unixOffset
    let now = moment / 1_000_000_000
    if now != second {
      second = now
      local = LocalTime(unixSecond: now)
      universal = LocalTime(utcSecond: now)
    }
    let microsecond = UInt64(max(0, moment % 1_000_000_000)) / 1_000
    switch format {
    case .combined: combined(record, texts, &buffer)
    case .json: json(record, texts, microsecond, &buffer)
    case .hap: hap(record, texts, loads, microsecond / 1_000, &buffer)
    }
    buffer.append(10)
  }

  // MARK: Combined

  private func combined(_ record: LogRecord, _ texts: LogTexts, _ buffer: inout LogBuffer) {
    buffer.append(record.address)
    buffer.append(" - - [")
    date(local, &buffer)
    buffer.append(32)
    buffer.append(local.offsetMinutes < 0 ? 45 : 43)
    let offset = UInt64(local.offsetMinutes.magnitude)
    buffer.append(decimal: offset / 60 * 100 + offset % 60, digits: 4)
    buffer.append("] \"")
    if texts.line.isEmpty { buffer.append(45) } else { buffer.append(escaped: texts.line) }
    buffer.append("\" ")
    if record.status == 0 { buffer.append(45) } else { buffer.append(decimal: UInt64(record.status)) }
    buffer.append(32)
    buffer.append(decimal: max(0, record.bytesOut - Int64(record.headOut)))
    quoted(texts.referer, &buffer)
    quoted(texts.agent, &buffer)
    buffer.append(" id=")
    id(record, texts, &buffer)
    buffer.append(" listener=")
    buffer.append(texts.listener)
    buffer.append(" server=")
    server(record, texts, &buffer)
    buffer.append(" times=")
    span(record.head, &buffer)
    span(record.queue, &buffer)
    span(record.connect, &buffer)
    span(record.firstByte, &buffer)
    buffer.append(milliseconds: record.total)
    buffer.append(" in=")
    buffer.append(decimal: record.bytesIn)
    buffer.append(" out=")
    buffer.append(decimal: record.bytesOut)
    buffer.append(" retries=")
    buffer.append(decimal: UInt64(record.retries))
    buffer.append(" end=\"")
    buffer.append(record.ending.words)
    buffer.append(34)
  }

  private func quoted(_ text: Text, _ buffer: inout LogBuffer) {
    buffer.append(" \"")
    if text.isEmpty { buffer.append(45) } else { buffer.append(escaped: text) }
    buffer.append(34)
  }

  private func span(_ span: UInt32, _ buffer: inout LogBuffer) {
    if span == notReached { buffer.append(45) } else { buffer.append(milliseconds: UInt64(span)) }
    buffer.append(47)
  }

  private func id(_ record: LogRecord, _ texts: LogTexts, _ buffer: inout LogBuffer) {
    if texts.id.isEmpty {
      buffer.append(hexadecimal: record.requestID, digits: 16)
    } else {
      buffer.append(texts.id)
    }
  }

  /// `pool/server`, `pool/-`, `-`.
  private func server(_ record: LogRecord, _ texts: LogTexts, _ buffer: inout LogBuffer) {
    if texts.pool.isEmpty {
      buffer.append(45)
      return
    }
    buffer.append(texts.pool)
    buffer.append(47)
    if texts.server.isEmpty { buffer.append(45) } else { buffer.append(texts.server) }
  }

  /// `26/Nov/2026:08:12:14`
  private func date(_ time: LocalTime, _ buffer: inout LogBuffer) {
    buffer.append(decimal: UInt64(time.day), digits: 2)
    buffer.append(47)
    buffer.append(Self.month(time.month))
    buffer.append(47)
    buffer.append(decimal: UInt64(time.year), digits: 4)
    buffer.append(58)
    clock(time, &buffer)
  }

  private func clock(_ time: LocalTime, _ buffer: inout LogBuffer) {
    buffer.append(decimal: UInt64(time.hour), digits: 2)
    buffer.append(58)
    buffer.append(decimal: UInt64(time.minute), digits: 2)
    buffer.append(58)
    buffer.append(decimal: UInt64(time.second), digits: 2)
  }

  static func month(_ month: Int32) -> StaticString {
    switch month {
    case 1: "Jan"
    case 2: "Feb"
    case 3: "Mar"
    case 4: "Apr"
    case 5: "May"
    case 6: "Jun"
    case 7: "Jul"
    case 8: "Aug"
    case 9: "Sep"
    case 10: "Oct"
    case 11: "Nov"
    default: "Dec"
    }
  }

  // MARK: JSON

  private func json(_ record: LogRecord, _ texts: LogTexts, _ microsecond: UInt64, _ buffer: inout LogBuffer) {
    buffer.append("{\"time\":\"")
    buffer.append(decimal: UInt64(universal.year), digits: 4)
    buffer.append(45)
    buffer.append(decimal: UInt64(universal.month), digits: 2)
    buffer.append(45)
    buffer.append(decimal: UInt64(universal.day), digits: 2)
    buffer.append(84)
    clock(universal, &buffer)
    buffer.append(46)
    buffer.append(decimal: microsecond, digits: 6)
    buffer.append("Z\",\"id\":\"")
    id(record, texts, &buffer)
    buffer.append("\",\"client\":\"")
    buffer.append(record.address)
    buffer.append("\",\"port\":")
    buffer.append(decimal: UInt64(record.port))
    buffer.append(",\"mode\":")
    buffer.append(record.isHTTP ? "\"http\"" : "\"tcp\"")
    let parts = texts.parts
    field(",\"listener\":", texts.listener, &buffer)
    field(",\"route\":", texts.route, &buffer)
    field(",\"pool\":", texts.pool, &buffer)
    field(",\"server\":", texts.server, &buffer)
    field(",\"method\":", parts.method, &buffer)
    field(",\"target\":", parts.target, &buffer)
    field(",\"version\":", parts.version, &buffer)
    field(",\"host\":", texts.host, &buffer)
    field(",\"referer\":", texts.referer, &buffer)
    field(",\"user_agent\":", texts.agent, &buffer)
    if record.isCut || parts.method.isEmpty && !texts.line.isEmpty {
      buffer.append(",\"line\":")
      buffer.append(json: texts.line)
    }
    buffer.append(",\"status\":")
    if record.status == 0 { buffer.append("null") } else { buffer.append(decimal: UInt64(record.status)) }
    buffer.append(",\"bytes_in\":")
    buffer.append(decimal: record.bytesIn)
    buffer.append(",\"bytes_out\":")
    buffer.append(decimal: record.bytesOut)
    buffer.append(",\"times_ms\":{")
    field("\"head\":", record.head, &buffer)
    field(",\"queue\":", record.queue, &buffer)
    field(",\"connect\":", record.connect, &buffer)
    field(",\"first_byte\":", record.firstByte, &buffer)
    buffer.append(",\"total\":")
    buffer.append(milliseconds: record.total)
    buffer.append("},\"retries\":")
    buffer.append(decimal: UInt64(record.retries))
    buffer.append(",\"affinity\":")
    buffer.append(Self.words(record.affinity))
    buffer.append(",\"end\":\"")
    buffer.append(record.ending.words)
    buffer.append("\"}")
  }

  private func field(_ key: StaticString, _ text: Text, _ buffer: inout LogBuffer) {
    buffer.append(key)
    if text.isEmpty { buffer.append("null") } else { buffer.append(json: text) }
  }

  private func field(_ key: StaticString, _ span: UInt32, _ buffer: inout LogBuffer) {
    buffer.append(key)
    if span == notReached { buffer.append("null") } else { buffer.append(milliseconds: UInt64(span)) }
  }

  private static func words(_ affinity: LoggedAffinity) -> StaticString {
    switch affinity {
    case .unused: "null"
    case .none: "\"none\""
    case .unknown: "\"unknown\""
    case .kept: "\"kept\""
    case .moved: "\"moved\""
    }
  }

  // MARK: HAProxy's

  /// HTTP: `client:port [date] frontend backend/server TR/Tw/Tc/Tr/Ta status bytes - - state a/f/b/s/retries sq/bq "line"`;
  /// TCP: `client:port [date] frontend backend/server Tw/Tc/Tt bytes state a/f/b/s/retries sq/bq`. Times in ms, -1 where a
  /// phase was not reached.
  private func hap(
    _ record: LogRecord, _ texts: LogTexts, _ loads: LogLoads, _ millisecond: UInt64, _ buffer: inout LogBuffer
  ) {
    buffer.append(record.address)
    buffer.append(58)
    buffer.append(decimal: UInt64(record.port))
    buffer.append(" [")
    date(local, &buffer)
    buffer.append(46)
    buffer.append(decimal: millisecond, digits: 3)
    buffer.append("] ")
    buffer.append(texts.listener)
    buffer.append(32)
    buffer.append(texts.pool.isEmpty ? texts.listener : texts.pool)
    buffer.append(47)
    if texts.server.isEmpty { buffer.append("<NOSRV>") } else { buffer.append(texts.server) }
    buffer.append(32)
    // Tr begins when the request has been sent, and is a server's.
    var response = record.isServerStatus ? record.firstByte : notReached
    if response != notReached {
      if record.queue != notReached { response -= min(response, record.queue) }
      if record.connect != notReached { response -= min(response, record.connect) }
    }
    if record.isHTTP { whole(record.head, &buffer) }
    whole(record.queue, &buffer)
    whole(record.connect, &buffer)
    if record.isHTTP { whole(response, &buffer) }
    buffer.append(decimal: record.total / 1_000)
    buffer.append(32)
    if record.isHTTP {
      if record.status == 0 { buffer.append("-1") } else { buffer.append(decimal: UInt64(record.status)) }
      buffer.append(32)
    }
    buffer.append(decimal: record.bytesOut)
    buffer.append(record.isHTTP ? " - - " : " ")
    buffer.append(record.ending.letters)
    if record.isHTTP {
      buffer.append(Self.letter(record.affinity))
      buffer.append(record.affinity == .unused ? 45 : record.setsCookie ? 73 : 78)
    }
    buffer.append(32)
    count(loads.all, &buffer)
    count(loads.listener, &buffer)
    count(loads.pool, &buffer)
    count(loads.server, &buffer)
    buffer.append(decimal: UInt64(record.retries))
    buffer.append(32)
    buffer.append(decimal: Int64(loads.serverQueue))
    buffer.append(47)
    buffer.append(decimal: Int64(loads.poolQueue))
    if !record.isHTTP { return }
    buffer.append(" \"")
    if texts.line.isEmpty { buffer.append("<BADREQ>") } else { buffer.append(marked: texts.line) }
    buffer.append(34)
  }

  private func whole(_ span: UInt32, _ buffer: inout LogBuffer) {
    if span == notReached { buffer.append("-1") } else { buffer.append(decimal: UInt64(span) / 1_000) }
    buffer.append(47)
  }

  private func count(_ count: Int, _ buffer: inout LogBuffer) {
    buffer.append(decimal: Int64(count))
    buffer.append(47)
  }

  /// V valid, D of a server that does not take the client, I invalid, N none.
  private static func letter(_ affinity: LoggedAffinity) -> UInt8 {
    switch affinity {
    case .unused: 45
    case .none: 78
    case .unknown: 73
    case .kept: 86
    case .moved: 68
    }
  }
}
