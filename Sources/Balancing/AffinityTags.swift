// Affinity by cookie: a server's tag is a keyed 64-bit hash of its pool's and its own name, so every node knows every
// tag beforehand and a client learns nothing from it. Tags are computed once; finding a tag's server is one lookup.

private import Primitives

struct AffinityTags {
  /// Up to this many tags are compared one by one.
  static let largestLinearCount = 16

  let serverCount: Int
  /// Tags of key 0 for all servers, then of key 1, …
  private let tags: UnsafeMutablePointer<UInt64>
  private let tagCount: Int
  /// Open addressing, at most half full: index of a tag plus one, 0 for free.
  private let slots: UnsafeMutablePointer<UInt32>?
  private let slotMask: UInt64

  init(pool: String, servers: [String], keys: [CookieKey]) {
    serverCount = servers.count
    tagCount = servers.count * keys.count
    tags = .allocate(capacity: max(1, tagCount))
    for (row, key) in keys.enumerated() {
      for (column, server) in servers.enumerated() {
        let text = Array(pool.utf8) + [0] + Array(server.utf8)
        (tags + (row * servers.count + column)).initialize(to: SipHash.tag(text, key: (key.low, key.high)))
      }
    }
    if tagCount <= Self.largestLinearCount {
      slots = nil
      slotMask = 0
      return
    }
    var slotCount = 32
    while slotCount < tagCount * 2 { slotCount *= 2 }
    let table = UnsafeMutablePointer<UInt32>.allocate(capacity: slotCount)
    table.initialize(repeating: 0, count: slotCount)
    slotMask = UInt64(slotCount - 1)
    for index in 0..<tagCount {
      var slot = tags[index] & slotMask
      while table[Int(slot)] != 0 { slot = (slot + 1) & slotMask }
      table[Int(slot)] = UInt32(index + 1)
    }
    slots = table
  }

  func deallocate() {
    tags.deallocate()
    slots?.deallocate()
  }

  /// The tag that is given out for a server; needs a key.
  func issued(_ server: Int) -> UInt64 {
    precondition(server >= 0 && server < serverCount && tagCount > 0)
    return tags[server]
  }

  /// The server of a tag, −1 if it is nobody's.
  func server(of tag: UInt64) -> Int {
    guard let slots else {
      var index = 0
      while index < tagCount {
        if tags[index] == tag { return index % serverCount }
        index &+= 1
      }
      return -1
    }
    var slot = tag & slotMask
    while true {
      let entry = slots[Int(slot)]
      if entry == 0 { return -1 }
      let index = Int(entry) &- 1
      if tags[index] == tag { return index % serverCount }
      slot = (slot &+ 1) & slotMask
    }
  }
}

/// The Set-Cookie line that gives a client its server.
package enum AffinityCookie {
  /// `Set-Cookie: NAME=TAG; Path=/; HttpOnly…` with its CR LF. `maxAgeSeconds` nil: until the browser ends. Browsers want
  /// Secure beside SameSite=None.
  package static func line(
    name: String, tag: UInt64, maxAgeSeconds: Int64?, secure: Bool, sameSite: String?
  ) -> [UInt8] {
    var digits = String(tag, radix: 16)
    digits = String(repeating: "0", count: 16 - digits.utf8.count) + digits
    var text = "Set-Cookie: \(name)=\(digits); Path=/; HttpOnly"
    if let maxAgeSeconds { text += "; Max-Age=\(maxAgeSeconds)" }
    if secure { text += "; Secure" }
    if let sameSite { text += "; SameSite=\(sameSite)" }
    return Array(text.utf8) + [13, 10]
  }
}
