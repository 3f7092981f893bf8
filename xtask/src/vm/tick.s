# The tick guest: a boot sector that is a whole operating system.
#
# It halts between timer ticks, so that a dozen of them run on two cores, and
# shows on COM1 that it lives:
#   B  booted    .  alive, about every 0.2 s
#   P  ACPI power button seen, powering off    I  seen and ignored
# Bytes received on COM1:
#   p  power off    r  reset    i  ignore the power button from now on
#   c  tell pvpanic of a crash  w  arm the ib700 watchdog and never stroke it
#
# Built by `as --32` and `ld --oformat binary -Ttext 0x7c00`. firmware.s starts it.

.intel_syntax noprefix
.code16
.globl _start

.set COM1_DATA,   0x3f8
.set COM1_IRQS,   0x3f9
.set COM1_LINE,   0x3fd
.set PM1_STATUS,  0x600         # where firmware.s puts the PIIX4's PM block
.set PM1_ENABLE,  0x602
.set PM1_CONTROL, 0x604
.set POWER_BUTTON, 0x100
.set SLEEP_S5,    0x2000        # SLP_EN with sleep type 0, soft-off on PIIX4
.set RESET_PORT,  0xcf9
.set PVPANIC,     0x505
.set IB700_ARM,   0x443
.set TWO_SECONDS, 0x0e          # the watchdog counts down from 15 by pairs

_start:
    cli
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    # Only the timer may interrupt, and its handler does nothing: the BIOS's
    # own would cost a thousand instructions a tick.
    mov word ptr [8 * 4], offset on_timer
    mov word ptr [8 * 4 + 2], ax
    mov al, 0xfe
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    mov dx, COM1_IRQS
    xor al, al
    out dx, al
    # QEMU reports the button in the status register only once it is enabled.
    mov dx, PM1_ENABLE
    mov ax, POWER_BUTTON
    out dx, ax
    mov al, 'B'
    call put
    xor bp, bp

turn:
    sti
    hlt
    cli
    mov dx, PM1_STATUS
    in ax, dx
    test ax, POWER_BUTTON
    jz no_button
    mov ax, POWER_BUTTON        # writing the bit clears it
    out dx, ax
    cmp byte ptr [ignore], 0
    je power_button
    mov al, 'I'
    call put
no_button:
    mov dx, COM1_LINE
    in al, dx
    test al, 1
    jz no_byte
    mov dx, COM1_DATA
    in al, dx
    cmp al, 'p'
    je power_off
    cmp al, 'r'
    je reset
    cmp al, 'c'
    je crash
    cmp al, 'w'
    je watchdog
    cmp al, 'i'
    jne no_byte
    mov byte ptr [ignore], 1
no_byte:
    inc bp
    test bp, 3                  # 18.2 Hz / 4
    jnz turn
    mov al, '.'
    call put
    jmp turn

power_button:
    mov al, 'P'
    call put
power_off:
    mov dx, PM1_CONTROL
    mov ax, SLEEP_S5
    out dx, ax
halt:
    hlt
    jmp halt

reset:
    mov dx, RESET_PORT
    mov al, 2
    out dx, al
    mov al, 6
    out dx, al
    jmp halt

crash:
    mov dx, PVPANIC
    mov al, 1
    out dx, al
    jmp no_byte

watchdog:
    mov dx, IB700_ARM
    mov al, TWO_SECONDS
    out dx, al
    jmp no_byte

put:                            # the byte in al to COM1
    mov ah, al
    mov dx, COM1_LINE
wait_room:
    in al, dx
    test al, 0x20
    jz wait_room
    mov dx, COM1_DATA
    mov al, ah
    out dx, al
    ret

on_timer:
    push ax
    mov al, 0x20
    out 0x20, al
    pop ax
    iret

ignore: .byte 0

    .org 510
    .word 0xaa55
