/** The trees that the mount benchmark is run on. */

export const MIB = 1 << 20
/** Folders, and files in each. */
export const FOLDERS = 100
export const FILES = 100
/** Folders of those that are made and removed: it is a rate that is measured, and the slowest of the cases. */
export const MADE = 20
/** Bytes of a small file. */
export const SMALL = Buffer.alloc(1024, 's')
/** MiB of the large one. */
export const LARGE = 256
