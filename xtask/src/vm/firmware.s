# What a tick guest starts with in the place of a BIOS, which takes two seconds to
# boot a boot sector under emulation, and most of a test of a guest's end with it.
#
# Readies what the guest uses and a reset leaves undone: the interrupt controllers and
# their way to the processor, the timer, the ports of power management. Then it starts
# the boot sector where a BIOS would have put it.
#
# Built by `as --32` and `ld --oformat binary -Ttext 0`, beside the boot sector.

.intel_syntax noprefix
.code16
.globl _start

.set PIC1, 0x20
.set PIC2, 0xa0
.set PIT_MODE, 0x43
.set PIT_COUNT, 0x40
.set PCI_ADDRESS, 0xcf8
.set PCI_DATA, 0xcfc
# The PIIX4's power management: device 1, function 3.
.set PM_BASE, 0x80000b40
.set PM_MISC, 0x80000b80
.set PM_PORTS, 0x600            # as the boot sector has them
.set LOCAL_APIC, 0xfee00000
.set SECTOR_AT, 0x7c00

_start:
    cli
    cld
    # Interrupts 0 to 7 are vectors 8 to 15, and all of them masked.
    mov al, 0x11
    out PIC1, al
    out PIC2, al
    mov al, 8
    out PIC1 + 1, al
    mov al, 0x70
    out PIC2 + 1, al
    mov al, 4
    out PIC1 + 1, al
    mov al, 2
    out PIC2 + 1, al
    mov al, 1
    out PIC1 + 1, al
    out PIC2 + 1, al
    mov al, 0xff
    out PIC1 + 1, al
    out PIC2 + 1, al
    # 18.2 times a second.
    mov al, 0x34
    out PIT_MODE, al
    xor al, al
    out PIT_COUNT, al
    out PIT_COUNT, al
    mov eax, PM_BASE
    mov dx, PCI_ADDRESS
    out dx, eax
    mov eax, PM_PORTS | 1
    mov dx, PCI_DATA
    out dx, eax
    mov eax, PM_MISC
    mov dx, PCI_ADDRESS
    out dx, eax
    mov al, 1                   # the ports are there
    mov dx, PCI_DATA
    out dx, al
    mov ax, cs
    mov ds, ax
    # The local APIC lies beyond what a segment reaches, until one was loaded in
    # protected mode. It passes on what the controllers have.
    lgdt [table]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov bx, 8
    mov fs, bx
    and al, 0xfe
    mov cr0, eax
    mov ebx, LOCAL_APIC
    mov dword ptr fs:[ebx + 0xf0], 0x1ff        # at work
    mov dword ptr fs:[ebx + 0x350], 0x700       # LINT0: external interrupts
    mov dword ptr fs:[ebx + 0x360], 0x400       # LINT1: what cannot be masked
    xor di, di
    mov es, di
    mov eax, 0xf0000000
    mov ax, offset back
    mov cx, 256
    rep stosd                   # an interrupt that the guest does not expect
    mov si, offset sector
    mov di, SECTOR_AT
    mov cx, 256
    rep movsw
    ljmp 0, SECTOR_AT

back:
    iret

    .balign 8
segments:
    .quad 0
    .quad 0x00cf92000000ffff    # data, all that there is
table:
    .word table - segments - 1
    .long 0xf0000 + segments

sector:
    .incbin "tick.img"

    .org 0xfff0                 # where a processor begins
    ljmp 0xf000, offset _start
    .org 0xffff
    .byte 0
