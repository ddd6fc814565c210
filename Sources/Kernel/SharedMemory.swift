// Memory that two of our processes see: a memory file, mapped, used as an array of eight-byte atomics.

internal import CLinux
internal import Glibc
internal import Synchronization

/// A mapped memory file of `wordCount` atomic words, all 0 at first.
package struct SharedMemory: ~Copyable, @unchecked Sendable {
  // Unchecked: the mapping is only ever accessed through atomics, and lives as long as this value.
  package let descriptor: FileDescriptor
  package let wordCount: Int
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  package init(name: String, byteCount: Int) throws(SystemError) {
    let file = FileDescriptor(owning: try checkedCall("create a memory file") { afloat_sealable_memory_file(name) })
    let raw = file.raw
    try checkedCall("size a memory file") { ftruncate(raw, off_t(byteCount)) }
    // The other process cannot cut it under our mapping, which would end this one with SIGBUS.
    try checkedCall("seal the size of a memory file") { afloat_seal_size(raw) }
    try self.init(mapping: file, byteCount: byteCount)
  }

  /// Maps a file that the other process made; throws if it is shorter than `byteCount`.
  package init(mapping file: consuming FileDescriptor, byteCount: Int) throws(SystemError) {
    precondition(byteCount % 8 == 0)
    let raw = file.raw
    let size = try checkedCall("measure a memory file") { lseek(raw, 0, SEEK_END) }
    guard size >= off_t(byteCount) else {
      throw SystemError("map \(byteCount) bytes of a file of \(size)", code: EINVAL)
    }
    let address = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0)
    guard let address, address != MAP_FAILED else { throw .last("map shared memory") }
    descriptor = file
    wordCount = byteCount / 8
    // Atomic<UInt64> has the layout of the integer, and fresh memory files are zero.
    words = address.bindMemory(to: Atomic<UInt64>.self, capacity: byteCount / 8)
  }

  deinit { munmap(words, wordCount * 8) }

  package borrowing func load(_ word: Int) -> UInt64 {
    precondition((0..<wordCount).contains(word))
    return words[word].load(ordering: .acquiring)
  }

  package borrowing func store(_ value: UInt64, in word: Int) {
    precondition((0..<wordCount).contains(word))
    words[word].store(value, ordering: .releasing)
  }
}
