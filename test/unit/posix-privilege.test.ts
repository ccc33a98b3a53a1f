import t from 'tap'
import { lackingPrivileges } from '../../src/backend/posix/privilege.ts'

const withoutRoot = (status: string): string[] => lackingPrivileges(status).filter((name) => name !== 'root')

t.test('it names the capabilities that are missing', async (t) => {
  t.same(withoutRoot('Name:\tnode\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n'), [])
  t.same(withoutRoot('CapPrm:\t000001ffffffffff\nCapEff:\t00000000a80425fb\n'), ['CAP_SYS_ADMIN'], 'a container')
  t.same(withoutRoot('CapEff:\t0000000000000000\n'), ['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FOWNER', 'CAP_SYS_ADMIN'])
  t.equal(withoutRoot('').length, 4, 'a status that does not say')
})
