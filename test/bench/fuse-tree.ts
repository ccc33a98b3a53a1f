// The tree that the FUSE benchmark is run on.

/** Bytes of the file that is read at random. */
export const FILE_SIZE = 64 << 20
/** What ls -lR walks: folders, and files in each. */
export const FOLDERS = 200
export const FILES = 100
