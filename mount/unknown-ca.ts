// What Node says of a certificate whose CA it was not told of, and what to do about it.

const NAME_ITS_CA = 'no CA known here has issued its certificate: name its CA by --ca PEM or KARST_CA'

const UNKNOWN_CA: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NAME_ITS_CA,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NAME_ITS_CA,
  SELF_SIGNED_CERT_IN_CHAIN: NAME_ITS_CA,
  DEPTH_ZERO_SELF_SIGNED_CERT: NAME_ITS_CA,
}

/** undefined: something else is the matter. */
export function ofUnknownCa(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? UNKNOWN_CA[String(error.code)] : undefined
}
