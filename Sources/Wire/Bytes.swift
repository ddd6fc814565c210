// Numbers in network byte order at an offset of a raw buffer, without assumptions on alignment.
// Callers have checked the bounds; the buffer checks them again (`UnsafeRawBufferPointer` traps in debug builds only), so
// every reader here is reached only behind a stated length check.

extension UnsafeRawBufferPointer {
  @inlinable func u8(_ offset: Int) -> UInt8 { self[offset] }
  @inlinable func u16(_ offset: Int) -> UInt16 {
    UInt16(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }
  @inlinable func u32(_ offset: Int) -> UInt32 {
    UInt32(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
  @inlinable func u64(_ offset: Int) -> UInt64 {
    UInt64(bigEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
}

extension UnsafeMutableRawBufferPointer {
  @inlinable func set<Number: FixedWidthInteger>(_ value: Number, at offset: Int) {
    precondition(offset >= 0 && offset + MemoryLayout<Number>.size <= count, "write past the end of the buffer")
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: Number.self)
  }
}
