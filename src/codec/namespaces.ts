/** The XML namespaces of every document read and written (wire.md 1.1). */

/** Of VOSpace 2.0 and 2.1 alike. */
export const VOS = 'http://www.ivoa.net/xml/VOSpace/v2.0'
export const XSI = 'http://www.w3.org/2001/XMLSchema-instance'
export const UWS = 'http://www.ivoa.net/xml/UWS/v1.0'
export const XLINK = 'http://www.w3.org/1999/xlink'
export const VOSI_CAPABILITIES = 'http://www.ivoa.net/xml/VOSICapabilities/v1.0'
export const VOSI_AVAILABILITY = 'http://www.ivoa.net/xml/VOSIAvailability/v1.0'
export const VODATASERVICE = 'http://www.ivoa.net/xml/VODataService/v1.1'
/** ours, inside the jobInfo of a job */
export const KARST_JOB = 'urn:karst:job'
