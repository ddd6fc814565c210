// Which Content-Type a file has, by the end of its name. What is not known is bytes, which browsers save and do not run.

package enum MediaTypes {
  private static let known: KeyValuePairs<StaticString, StaticString> = [
    "html": "text/html; charset=utf-8", "htm": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8", "mjs": "text/javascript; charset=utf-8",
    "json": "application/json", "map": "application/json", "txt": "text/plain; charset=utf-8",
    "md": "text/markdown; charset=utf-8", "csv": "text/csv; charset=utf-8", "xml": "application/xml",
    "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
    "webp": "image/webp", "avif": "image/avif", "ico": "image/vnd.microsoft.icon", "bmp": "image/bmp",
    "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf", "pdf": "application/pdf",
    "wasm": "application/wasm", "zip": "application/zip", "gz": "application/gzip", "tar": "application/x-tar",
    "mp4": "video/mp4", "webm": "video/webm", "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav",
    "webmanifest": "application/manifest+json", "rss": "application/rss+xml", "atom": "application/atom+xml",
  ]

  /// `path` of a file; the case of its ending does not matter.
  package static func type(of path: UnsafeBufferPointer<UInt8>) -> StaticString {
    var start = path.count
    while start > 0 && path[start - 1] != 46 && path[start - 1] != 47 { start -= 1 }
    if start > 0 && path[start - 1] == 46 {
      let count = path.count - start
      for (ending, type) in known where ending.utf8CodeUnitCount == count {
        if (0..<count).allSatisfy({ lowercased(path[start + $0]) == ending.utf8Start[$0] }) { return type }
      }
    }
    return "application/octet-stream"
  }
}
