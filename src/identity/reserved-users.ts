// Names that no certificate and no token gives to anybody.

/** Names that mean something to systems and programs: nobody gets one by their certificate saying so. */
const RESERVED: ReadonlySet<string> = new Set(
  `root daemon bin sys sync games man lp mail news uucp proxy backup list irc nobody nogroup operator adm shutdown halt ftp sshd www-data
   systemd messagebus dbus polkitd postgres mysql redis nginx apache karst vospace cavern admin administrator administrators sudo wheel staff users user
   guest anonymous anybody everyone all none null undefined system service services support security me self owner public private test
   home projects datasets scratch trash uid gid`.split(/\s+/),
)

export const isReservedName = (name: string): boolean => RESERVED.has(name.toLowerCase())
