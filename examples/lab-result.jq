# An HL7 v2 ORU^R01, decoded, to one lab result as lab-result.schema.json describes it.
{
  message: hl7("MSH-10"),
  sent: (hl7("MSH-7") | hl7_time),
  laboratory: hl7("MSH-4.1"),
  patient: {
    id: hl7("PID-3.1"),
    family: hl7("PID-5.1"),
    given: hl7("PID-5.2"),
    born: (hl7("PID-7") | if . then hl7_time else null end),
    sex: hl7("PID-8")
  },
  ward: hl7("PV1-3.1"),
  order: hl7("OBR-2.1"),
  results: [
    .OBX[]
    | select(hl7("2") == "NM")
    | {
        code: hl7("3.1"),
        name: hl7("3.2"),
        value: (hl7("5") | tonumber),
        unit: hl7("6.1"),
        range: hl7("7"),
        flag: (hl7("8") // "N"),
        taken: (hl7("14") | if . then hl7_time else null end)
      }
  ],
  notes: [.OBX[], .NTE[]? | select(hl7("2") != "NM") | hl7("5") // hl7("3")]
}
| .critical = any(.results[].flag; . == "HH" or . == "LL" or . == "AA")
