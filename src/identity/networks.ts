// Addresses and networks that a site lists: fronts, load balancers.
import { BlockList, isIP } from 'node:net'

// Without a zone, and an IPv4 address as such where a socket for both families has it as IPv6.
const plain = (address: string): string => address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')

/** Of texts like 10.1.2.3, 10.0.0.0/8 and fd00::/8, which the configuration has checked. */
export function networksOf(texts: readonly string[]): BlockList {
  const list = new BlockList()
  for (const text of texts) {
    const [written = '', prefix] = text.split('/')
    const address = plain(written)
    const isIpv4 = isIP(address) === 4
    const mapped = isIpv4 && address !== written ? 96 : 0
    const bits = prefix === undefined ? (isIpv4 ? 32 : 128) : Number(prefix) - mapped
    if (bits === (isIpv4 ? 32 : 128)) list.addAddress(address, isIpv4 ? 'ipv4' : 'ipv6')
    else list.addSubnet(address, bits, isIpv4 ? 'ipv4' : 'ipv6')
  }
  return list
}

/** Whether an address is in one of them. A socket that is closed already, or one of the file system, has none. */
export function isListed(remoteAddress: string | undefined, list: BlockList): boolean {
  if (remoteAddress === undefined) return false
  const address = plain(remoteAddress)
  const family = isIP(address)
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6')
}
